/**
 * Who may import whom, as a rule of lint. It says which import is meant, and which chapter has the reason,
 * where a rule about tags could name the tags alone.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Layers, by the `layer:*` tags of package.json files: each with those that it may import. */
export const LAYERS = {
  pure: ['pure'],
  ports: ['pure', 'ports'],
  runtime: ['pure', 'ports', 'runtime'],
  app: ['pure', 'ports', 'runtime'],
  tool: ['pure', 'ports', 'runtime', 'tool'],
};

/**
 * Rooms of `libs/`, by the `scope:*` tags, each named by whom its libraries serve: each with the others that
 * it may import. Consensus knows no key-value commands, doors know nothing of what is behind them, and nodes
 * no doors. Applications and tools stand in no room and import from all.
 */
export const ROOMS = {
  foundation: [],
  storage: ['foundation'],
  consensus: ['storage', 'foundation'],
  cluster: ['consensus', 'storage', 'foundation'],
  txn: ['cluster', 'foundation'],
  doors: ['foundation'],
  nodes: ['txn', 'cluster', 'consensus', 'storage', 'foundation'],
};

/** The projects of the repository, with the layer and the room that they stand in. */
function readProjects() {
  const foldersIn = (folder) =>
    readdirSync(join(ROOT, folder), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => `${folder}/${name}`);
  return [...foldersIn('libs'), 'apps', 'tools']
    .flatMap(foldersIn)
    .map((folder) => `${folder}/package.json`)
    .filter((path) => existsSync(join(ROOT, path)))
    .map((path) => {
      const { name, nx } = JSON.parse(readFileSync(join(ROOT, path), 'utf8'));
      const tagOf = (kind) =>
        nx.tags.find((tag) => tag.startsWith(`${kind}:`))?.slice(kind.length + 1) ?? 'none';
      return {
        name,
        folder: dirname(path),
        layer: tagOf('layer'),
        room: tagOf('scope'),
      };
    });
}

let projects;

/** What is wrong with an import of a project by another, in sentences. */
function problemsOf(importer, imported, { layers, rooms }) {
  if (imported.layer === 'app')
    return [`${imported.name} is an application, and nobody imports those: docs/architecture.md#layers`];
  const allowed = layers[importer.layer] ?? [];
  const layerProblem =
    imported.layer === 'tool'
      ? `${imported.name} is a tool, and only tools import those`
      : `${imported.name} stands in the layer ${imported.layer}; ` +
        `${importer.layer} imports ${allowed.join(', ')}`;
  const problems = allowed.includes(imported.layer) ? [] : [`${layerProblem}: docs/architecture.md#layers`];
  const others = rooms[importer.room];
  if (others === undefined || importer.room === imported.room || others.includes(imported.room))
    return problems;
  if (rooms[imported.room] === undefined) return problems;
  const names = others.length === 0 ? 'none' : others.join(', ');
  return [
    ...problems,
    `${imported.name} stands in the room ${imported.room}; ${importer.room} imports ${names}: ` +
      'docs/architecture.md#rooms',
  ];
}

/** Holds LAYERS and ROOMS. Both come as options, so that the cache of lint notices when they change. */
export const boundaries = {
  meta: {
    type: 'problem',
    schema: [{ type: 'object', required: ['layers', 'rooms'] }],
    messages: { boundary: '{{problem}}.' },
  },
  create(context) {
    projects ??= readProjects();
    const path = relative(ROOT, context.filename).split(sep).join('/');
    const importer = projects.find(({ folder }) => path.startsWith(`${folder}/`));
    if (importer === undefined) return {};
    const check = (source) => {
      if (typeof source?.value !== 'string') return;
      const { value } = source;
      const imported = projects.find(({ name }) => value === name || value.startsWith(`${name}/`));
      if (imported === undefined || imported === importer) return;
      for (const problem of problemsOf(importer, imported, context.options[0]))
        context.report({ node: source, messageId: 'boundary', data: { problem } });
    };
    const ofSource = (node) => check(node.source);
    return {
      ImportDeclaration: ofSource,
      ExportAllDeclaration: ofSource,
      ExportNamedDeclaration: ofSource,
      ImportExpression: ofSource,
      TSImportType: ofSource,
    };
  },
};
