import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import type { MarkdownRenderer } from 'vitepress';

/** The anchor of a heading, by GitHub's rule, so that one link leads there on both sides. */
export function slugify(heading: string): string {
  return heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{M}\p{N}\p{Pc}\- ]/gu, '')
    .replaceAll(' ', '-');
}

/**
 * Makes links from file to file lead to where these files stand on the site, or, for all that has no page there,
 * to the repository. `root` is the folder of the repository and `source` its address. A link to nothing is an error.
 */
export function repositoryLinks(root: string, source: string, places: Record<string, string>) {
  return (md: MarkdownRenderer): void => {
    md.core.ruler.push('repository-links', ({ tokens, env }) => {
      const file = posix.relative(root, env.realPath ?? env.path);
      for (const token of tokens.flatMap(({ children }) => children ?? [])) {
        const href = token.type === 'link_open' ? token.attrGet('href') : null;
        if (href === null || /^([a-z]+:|[/#])/i.test(href)) continue;
        token.attrSet('href', moved(file, href));
      }
    });
  };

  function moved(file: string, href: string): string {
    const [path, anchor] = href.split(/(?=#)/);
    const target = posix.join(posix.dirname(file), path!);
    if (!existsSync(join(root, target))) throw new Error(`${file} links to ${target}, which does not exist`);
    const place = places[target];
    if (place !== undefined) return `/${place}${anchor ?? ''}`;
    return `${source}/${statSync(join(root, target)).isDirectory() ? 'tree' : 'blob'}/main/${target}${anchor ?? ''}`;
  }
}

/** Fails where a page that was built links to a page or an anchor that was not. */
export function checkLinks(folder: string, base: string): void {
  const pages = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.html'));
  const html = new Map(pages.map((page) => [page, readFileSync(join(folder, page), 'utf8')]));
  const dead: string[] = [];
  for (const [page, text] of html) {
    for (const [, href] of text.matchAll(/<a\b[^>]* href="([^"]*)"/g)) {
      if (/^([a-z]+:|\/\/)/i.test(href!)) continue;
      const [path, anchor] = decodeURI(href!).split('#');
      const target = path === '' ? page : join(path!.startsWith('/') ? '' : dirname(page), path!.replace(base, ''));
      const found = html.get(target === '' || target === '.' ? 'index.html' : target);
      if (found === undefined || (anchor && !found.includes(` id="${anchor}"`))) dead.push(`${page}: ${href}`);
    }
  }
  if (dead.length > 0) throw new Error(`links that lead nowhere:\n${dead.join('\n')}`);
}
