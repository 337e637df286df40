import { posix } from 'node:path';
import type { TreeFile } from './tree.js';

/** What documents are held against. */
export interface Facts {
  /** Every file, generated ones included. */
  readonly paths: ReadonlySet<string>;
  /** Texts of all Markdown files, by path. */
  readonly documents: ReadonlyMap<string, string>;
  /** Names in `scripts` of the workspace. */
  readonly scripts: ReadonlySet<string>;
  /** Commands of the `cairn` program. */
  readonly commands: ReadonlySet<string>;
  /** Flags of processes, without the dashes. */
  readonly flags: ReadonlySet<string>;
  /** Names of metrics that some source registers. */
  readonly metrics: ReadonlySet<string>;
  /** Texts of specs, by the name of their file; several may have one name. */
  readonly specs: ReadonlyMap<string, readonly string[]>;
  /** Names of deliberate defects, and of transcripts of the consensus core. */
  readonly defects: ReadonlySet<string>;
  readonly transcripts: ReadonlySet<string>;
  /** What processes may say: texts of their sources, with what is filled in as `…`. */
  readonly sayings: readonly string[];
}

const METRIC = /'(cairn_[a-z_]+)'/g;
const TRANSCRIPTS = 'libs/consensus/raft/test/transcripts/';

function namesIn(files: readonly TreeFile[], pattern: RegExp): Set<string> {
  return new Set(files.flatMap(({ text }) => [...text.matchAll(pattern)].map((match) => match[1] ?? '')));
}

/** Reads the facts out of the tree; `documents` besides the tree's own are the generated ones. */
export function factsOf(
  tree: readonly TreeFile[],
  documents: readonly TreeFile[],
  paths: readonly string[],
): Facts {
  const sources = tree.filter(({ path }) => path.endsWith('.ts') && !path.endsWith('.spec.ts'));
  const workspace = tree.find(({ path }) => path === 'package.json');
  const { scripts = {} } = JSON.parse(workspace?.text ?? '{}') as { scripts?: Record<string, string> };
  const specs = new Map<string, string[]>();
  for (const { path, text } of tree) {
    if (!path.endsWith('.spec.ts')) continue;
    const name = posix.basename(path);
    specs.set(name, [...(specs.get(name) ?? []), text]);
  }
  const of = (part: string): TreeFile[] => sources.filter(({ path }) => path.includes(part));
  const ofTranscripts = paths.filter((path) => path.startsWith(TRANSCRIPTS) && path.endsWith('.txt'));
  return {
    paths: new Set(paths),
    documents: new Map(documents.map(({ path, text }) => [path, text])),
    scripts: new Set(Object.keys(scripts)),
    commands: namesIn(of('apps/cli/src/'), /\.command\('([a-z]+)/g),
    flags: namesIn(documents, /`--([a-z][a-z-]*)`/g),
    metrics: namesIn(sources, METRIC),
    specs,
    defects: namesIn(of('/mutants/'), /\bname: '([a-z-]+)'/g),
    transcripts: new Set(ofTranscripts.map((path) => posix.basename(path, '.txt'))),
    sayings: sources.filter(({ path }) => !path.startsWith('tools/')).map(({ text }) => sayingsIn(text)),
  };
}

/** Strings that go over several lines in one piece, what is filled into them as `…`. */
function sayingsIn(text: string): string {
  return text.replace(/['"`] \+\s+['"`]/g, '').replace(/\$\{[^}]*\}/g, '…');
}

function lineOf(text: string, at: number): number {
  return text.slice(0, at).split('\n').length;
}

/** Of each match of the pattern, what is wrong with it. */
function judged(
  file: TreeFile,
  pattern: RegExp,
  judge: (match: RegExpExecArray) => string | undefined,
): string[] {
  return [...file.text.matchAll(pattern)].flatMap((match) => {
    const wrong = judge(match);
    return wrong === undefined ? [] : [`${file.path}:${lineOf(file.text, match.index)}: ${wrong}`];
  });
}

/** As GitHub makes them: letters, digits and dashes of the title; the second of one title ends with -1. */
export function anchorsOf(text: string): Set<string> {
  const anchors = new Set<string>();
  const prose = text.replace(/^```[\s\S]*?^```/gm, '');
  for (const [, title = ''] of prose.matchAll(/^#{1,6} (.+)$/gm)) {
    const plain = title.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '');
    const base = plain.trim().replaceAll(' ', '-');
    let anchor = base;
    for (let count = 1; anchors.has(anchor); count += 1) anchor = `${base}-${count}`;
    anchors.add(anchor);
  }
  return anchors;
}

/** Links to files and places that are not there. */
export function brokenLinks(file: TreeFile, { paths, documents }: Facts): string[] {
  return judged(file, /\]\(([^()\s]+)\)/g, ([, target = '']) => {
    if (/^[a-z]+:/.test(target)) return undefined;
    const [to = '', anchor] = target.split('#');
    const path = to === '' ? file.path : posix.join(posix.dirname(file.path), to);
    const isFolder = [...paths].some((each) => each.startsWith(`${path.replace(/\/$/, '')}/`));
    if (!paths.has(path) && !isFolder) return `no file ${path}`;
    if (anchor === undefined || anchorsOf(documents.get(path) ?? '').has(anchor)) return undefined;
    return `no place #${anchor} in ${path}`;
  });
}

/** Files that are named in backticks and do not exist. Names of data files are not looked at. */
export function unknownFiles(file: TreeFile, { paths }: Facts): string[] {
  return judged(file, /`((?:[\w@.-]+\/)*[a-z][\w.-]*\.(?:ts|mjs|md|proto))`/g, ([, name = '']) => {
    const isThere = [...paths].some((path) => path === name || path.endsWith(`/${name}`));
    // Relative to the document, upwards.
    const isRelative = paths.has(posix.join(posix.dirname(file.path), name));
    return isThere || isRelative ? undefined : `no file ${name}`;
  });
}

/** Scripts of npm, commands of `cairn`, and flags of processes that do not exist. */
export function unknownCommands(file: TreeFile, { scripts, commands, flags }: Facts): string[] {
  return [
    ...judged(file, /\bnpm run (?:-s )?([a-z][a-z:]*)/g, ([, name = '']) =>
      scripts.has(name) ? undefined : `no script ${name}`,
    ),
    ...judged(file, /`cairn ([a-z]+)|\bnpx cairn ([a-z]+)/g, ([, quoted, shown]) => {
      const name = quoted ?? shown ?? '';
      return name === 'help' || commands.has(name) ? undefined : `no command cairn ${name}`;
    }),
    ...judged(file, /^.*\/dist\/main\.js --.*$/gm, ([line]) => {
      const unknown = [...line.matchAll(/ --([a-z-]+)/g)].find(([, flag = '']) => !flags.has(flag));
      return unknown === undefined || !line.includes('apps/') ? undefined : `no flag${unknown[0]}`;
    }),
  ];
}

/** `name_{a,b}_c{label}` → `name_a_c`, `name_b_c`: alternatives follow an underscore, labels do not. */
function expand(name: string): string[] {
  const alternatives = /^(.*?_)\{([a-z_]+(?:,[a-z_]+)+)\}(.*)$/.exec(name);
  if (alternatives === null) return [name.replace(/\{.*$/, '')];
  const [, before = '', words = '', after = ''] = alternatives;
  return words.split(',').flatMap((word) => expand(before + word + after));
}

/** Metrics that nothing registers; `_rest` behind another one stands for what begins alike. */
export function unknownMetrics(file: TreeFile, { metrics }: Facts): string[] {
  let last = '';
  return judged(file, /`(cairn_[a-z_{},]+|_[a-z_{},]+)`/g, ([, name = '']) => {
    if (name.endsWith('_')) return undefined;
    if (name.startsWith('_')) {
      const [rest = ''] = expand(name);
      const parts = last.split('_');
      const isKnown = parts.some((_, at) => metrics.has(parts.slice(0, at).join('_') + rest));
      return isKnown || last === '' ? undefined : `no metric that begins as ${last} and ends in ${rest}`;
    }
    const unknown = expand(name).find(
      (each) => !metrics.has(each) && ![...metrics].some((known) => known.startsWith(`${each}_`)),
    );
    last = expand(name).at(-1) ?? '';
    return unknown === undefined ? undefined : `no metric ${unknown}`;
  });
}

/** The page whose readers search logs for the phrases that it quotes. */
const PAGE_OF_PHRASES = 'docs/operations.md';
/** What is quoted and not said by a process: commands, flags, variables, calls. */
const NO_PHRASE = /^(?:--|npx |npm |cairn |[A-Z_]+=)/;
/** Names, numbers and files stand for others. */
const EXAMPLE = /\b(?:shard|meta|router)-\d+|\b\d+\b|\b[\w-]+\.json\b|…/;

/** Phrases of logs and refusals that nothing writes. */
export function unknownPhrases(file: TreeFile, { sayings }: Facts): string[] {
  if (file.path !== PAGE_OF_PHRASES) return [];
  return judged(file, /^```[\s\S]*?^```|`([^`]+)`/gm, ([, quoted = '']) => {
    const phrase = quoted.replace(/\s+/g, ' ');
    if (!phrase.includes(' ') || NO_PHRASE.test(phrase)) return undefined;
    const parts = phrase.split(EXAMPLE).map((part) => part.trim());
    const words = parts
      .filter((part) => part !== '')
      .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
    const pattern = new RegExp(words.join('.{0,200}?'));
    return sayings.some((saying) => pattern.test(saying)) ? undefined : `nobody says "${phrase}"`;
  });
}

const QUOTED = /`([\w.-]+\.spec\.ts)`((?:,? "[^"]+")+)/g;
const NAMED = /\b(defect|transcript)s? ((?:`[\w-]+`(?:, )?)+)/g;

/** What a timeline says that something is shown by, and is not there. */
export function unknownWitnesses(file: TreeFile, { specs, defects, transcripts }: Facts): string[] {
  if (!file.path.startsWith('docs/timelines/')) return [];
  return [
    ...judged(file, QUOTED, ([, spec = '', titles = '']) => {
      const texts = (specs.get(spec) ?? []).map((text) => text.replaceAll("\\'", "'"));
      const missing = [...titles.matchAll(/"([^"]+)"/g)].find(
        ([, title = '']) => !texts.some((text) => text.includes(title)),
      );
      return missing === undefined ? undefined : `no test ${missing[0]} in ${spec}`;
    }),
    ...judged(file, NAMED, ([, kind, list = '']) => {
      const known = kind === 'defect' ? defects : transcripts;
      const names = [...list.matchAll(/`([\w-]+)`/g)].map((match) => match[1] ?? '');
      const missing = names.find((name) => !known.has(name));
      return missing === undefined ? undefined : `no ${kind} ${missing}`;
    }),
  ];
}

export const DOCUMENT_RULES = [
  brokenLinks,
  unknownFiles,
  unknownCommands,
  unknownMetrics,
  unknownPhrases,
  unknownWitnesses,
] as const;

/** Each timeline is named where it happens, `Timeline: docs/timelines/NAME.md`, and only those that exist. */
export function unlinkedTimelines(tree: readonly TreeFile[]): string[] {
  const pages = tree.map(({ path }) => path).filter((path) => /^docs\/timelines\/[a-z-]+\.md$/.test(path));
  const sources = tree.filter(({ path }) => path.endsWith('.ts') && !path.startsWith('tools/'));
  const named = namesIn(sources, /Timeline: (docs\/timelines\/[\w-]+\.md)/g);
  const overview = tree.find(({ path }) => path === 'docs/timelines/README.md')?.text ?? '';
  const begins = [...overview.matchAll(/^\| \[.*\]\(([\w-]+\.md)\).*\|(.*)\|$/gm)].flatMap(
    ([, page = '', files = '']) =>
      [...files.matchAll(/`([\w./-]+\.ts)`/g)].map(([, name = '']) => ({
        page: `docs/timelines/${page}`,
        name,
      })),
  );
  const silent = begins.filter(
    ({ page, name }) =>
      !sources.some(({ path, text }) => path.endsWith(`/${name}`) && text.includes(`Timeline: ${page}`)),
  );
  return [
    ...silent.map(({ page, name }) => `${name}: ${page} begins there, and it does not name it`),
    ...pages.filter((path) => !named.has(path)).map((path) => `${path}: no source file names it`),
    ...[...named].filter((path) => !pages.includes(path)).map((path) => `${path}: is named and not there`),
  ];
}

/** Who writes what `cairn debug` shows of a store and of consensus, and the page with its legend. */
const DEBUG_TEXTS = [
  'libs/consensus/raft/src/debug-view.ts',
  'libs/consensus/raft/src/progress.ts',
  'libs/consensus/store/src/debug-view.ts',
  'libs/consensus/store/src/heartbeat-peer.ts',
  'libs/consensus/store/src/replica.ts',
];

/** Words of `cairn debug` that its legend does not explain. */
export function unexplainedWords(tree: readonly TreeFile[]): string[] {
  const legend = tree.find(({ path }) => path === PAGE_OF_PHRASES)?.text ?? '';
  const words = namesIn(
    tree.filter(({ path }) => DEBUG_TEXTS.includes(path)),
    /[` ]([a-z-]+)=\$\{/g,
  );
  return [...words].filter((word) => !legend.includes(`\`${word}=`)).map((word) => `no legend of ${word}=`);
}

const MANIFEST = /^libs\/([a-z-]+)\/([a-z-]+)\/package\.json$/;

/** `| a | \`b\` \`c\` |` → a row of cells, each a list of what is in backticks. */
function rowsOf(text: string): string[][][] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .map((line) =>
      line.split('|').map((cell) => [...cell.matchAll(/`([\w-]+)`/g)].map(([, name = '']) => name)),
    );
}

function sameNames(one: readonly string[], other: readonly string[]): boolean {
  return [...one].sort().join() === [...other].sort().join();
}

/** What the table of rooms in `docs/architecture.md` says: each room, and the others that it imports. */
export function importedRooms(architecture: string): Map<string, string[]> {
  const rows = rowsOf(architecture).filter((row) => row.length === 4 && row[1]?.length === 1);
  return new Map(rows.map(([, room = [], others = []]) => [room[0] ?? '', others]));
}

interface Manifest {
  /** Default: as its folder. */
  readonly name?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
}

const libraryOf = (packageName: string): string => packageName.replace('@cairn/', '');

/**
 * The rooms as `libs/README.md` and `docs/architecture.md` show them: which libraries stand in each, which
 * other rooms each imports, and that the layers name every library.
 */
export function wrongRooms(tree: readonly TreeFile[]): string[] {
  const libraries = tree.flatMap(({ path, text }) => {
    const [, room, folder] = MANIFEST.exec(path) ?? [];
    if (room === undefined || folder === undefined) return [];
    const { dependencies = {}, name = folder } = JSON.parse(text) as Manifest;
    const imports = Object.keys(dependencies).map(libraryOf);
    return [{ room, name: libraryOf(name), imports }];
  });
  const roomOf = new Map(libraries.map(({ name, room }) => [name, room]));
  const textOf = (path: string): string => tree.find((file) => file.path === path)?.text ?? '';
  const architecture = textOf('docs/architecture.md');
  const shelves = rowsOf(textOf('libs/README.md'));
  const layered = new Set(rowsOf(architecture).flat(2));
  const arrows = importedRooms(architecture);
  const wrong: string[] = [];
  for (const room of new Set(roomOf.values())) {
    const inside = libraries.filter((library) => library.room === room);
    const shown = shelves.find((row) => row[1]?.[0] === room)?.at(-2) ?? [];
    const names = inside.map(({ name }) => name);
    if (!sameNames(shown, names)) wrong.push(`libs/README.md: ${room} has ${names.join(' ')}`);
    const others = inside.flatMap(({ imports }) => imports.map((name) => roomOf.get(name) ?? room));
    const imported = [...new Set(others.filter((other) => other !== room))];
    const drawn = arrows.get(room) ?? [];
    if (!sameNames(drawn, imported))
      wrong.push(`docs/architecture.md: ${room} imports ${imported.join(' ')}`);
    for (const name of names) {
      if (!layered.has(name)) wrong.push(`docs/architecture.md: ${name} is in no layer`);
    }
  }
  return wrong;
}
