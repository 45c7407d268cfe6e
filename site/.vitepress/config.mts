import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitepress';
import { checkLinks, repositoryLinks, slugify } from './links.mts';
import { places, sections } from './pages.mts';

const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');
const source = 'https://github.com/messagebus-go/messagebus';
const mark = readFileSync(resolve(root, 'cmd/messagebus/internal/demo/page/favicon.svg'), 'utf8');
const markURL = `data:image/svg+xml,${encodeURIComponent(mark)}`;

const url = (file: string): string => `/${places[file]!.replace(/\.md$/, '.html')}`;

/** Pages import Vue while they are rendered; they stand where it cannot be found, and what is made of them does not. */
const vueOfThisFolder = {
  name: 'vue-of-this-folder',
  enforce: 'pre' as const,
  resolveId: (id: string, _importer: unknown, { ssr }: { ssr?: boolean }) =>
    ssr && /^vue(\/server-renderer)?$/.test(id) ? { id, external: true } : null,
};

export default defineConfig({
  title: 'messagebus',
  description: 'A message bus for Go with an HTTP push server for browsers, wire-compatible with the Ruby gem message_bus',
  lang: 'en',
  base: process.env.SITE_BASE ?? '/',
  head: [['link', { rel: 'icon', href: markURL, type: 'image/svg+xml' }]],

  // The documents stay where they are read in the repository.
  srcDir: root,
  srcExclude: ['docs/README.md', 'examples/*/**', 'rubycompat/**', '**/testdata/**'],
  rewrites: places,
  outDir: resolve(root, 'site/dist'),
  cacheDir: resolve(root, 'site/node_modules/.vite'),
  metaChunk: true,
  vite: { plugins: [vueOfThisFolder] },

  markdown: {
    anchor: { slugify },
    config: (md) => md.use(repositoryLinks(root, source, places)),
    languageAlias: { caddyfile: 'nginx', haproxy: 'ini' },
  },

  buildEnd({ pages, outDir, site }) {
    const unplaced = pages.filter((page) => !(page in places));
    if (unplaced.length > 0) throw new Error(`.vitepress/pages.mts does not name ${unplaced.join(', ')}`);
    checkLinks(outDir, site.base);
  },

  themeConfig: {
    logo: { src: markURL, alt: '' },
    nav: [
      { text: 'Getting started', link: url('docs/getting-started.md') },
      { text: 'Guarantees', link: url('docs/guarantees.md') },
      { text: 'From Ruby', link: url('docs/from-ruby.md') },
      { text: 'Operating', link: url('docs/operating.md') },
    ],
    sidebar: sections.map(({ text, pages }) => ({
      text,
      items: Object.entries(pages).map(([file, name]) => ({ text: name, link: url(file) })),
    })),
    outline: [2, 3],
    search: { provider: 'local' },
    socialLinks: [{ icon: 'github', link: source, ariaLabel: 'The repository' }],
    editLink: { pattern: `${source}/edit/main/:path`, text: 'Edit this page' },
    footer: { message: 'MIT licence' },
  },
});
