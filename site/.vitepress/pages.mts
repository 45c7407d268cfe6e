/** The pages of the site in the order in which they are read: file, and the name in the navigation. */
export const sections = [
  {
    text: 'Start',
    pages: {
      'README.md': 'Overview',
      'docs/getting-started.md': 'Getting started',
      'examples/README.md': 'Examples',
      'docs/comparison.md': 'Compared with others',
    },
  },
  {
    text: 'What is promised',
    pages: {
      'docs/guarantees.md': 'Guarantees',
      'SECURITY.md': 'Security',
      'docs/performance.md': 'Performance',
    },
  },
  {
    text: 'From Ruby',
    pages: {
      'docs/from-ruby.md': 'The move',
      'docs/http-client.md': 'The clients side by side',
    },
  },
  {
    text: 'In production',
    pages: {
      'docs/operating.md': 'Operating',
      'docs/operating/dashboard.md': 'Dashboard',
      'docs/operating/metrics.md': 'Metrics',
      'packaging/README.md': 'Packages and images',
    },
  },
  {
    text: 'Reference',
    pages: {
      'cmd/messagebus/README.md': 'The command',
      'docs/protocol.md': 'HTTP protocol',
      'transport/README.md': 'HTTP handler',
      'bus/redisbus/README.md': 'Store on Redis',
      'bus/pgbus/README.md': 'Store on Postgres',
      'cache/README.md': 'Cache',
      'jsclient/README.md': 'Browser client',
      'httpclient/README.md': 'Go client',
      'observe/prometheus/README.md': 'Metrics in a program',
      'observe/otel/README.md': 'Traces in a program',
      'docs/glossary.md': 'Words',
    },
  },
  {
    text: 'Design',
    pages: {
      'docs/design.md': 'Design',
      'CONTRIBUTING.md': 'Contributing',
      'docs/releasing.md': 'Releasing',
      'CHANGELOG.md': 'Changes',
    },
  },
];

/** Its front page, which is no document of the repository. */
const front = 'site/index.md';

/** Where each file of the repository stands on the site, without a slash before it. */
export const places: Record<string, string> = {
  [front]: 'index.md',
  ...Object.fromEntries(sections.flatMap(({ pages }) => Object.keys(pages)).map((file) => [file, place(file)])),
};

function place(file: string): string {
  if (file === 'README.md') return 'overview.md';
  return file
    .replace(/^docs\//, '')
    .replace(/\/README\.md$/, '.md')
    .toLowerCase();
}
