import { CairnError, storeId, type StoreId } from '@cairn/base';
import { readWholeFile, writeFileDurably, type Disk, type Rng } from '@cairn/ports';

import { readSealedJson, sealedJson, unreadable } from './sealed-json.js';

/** Of the layout of a data directory: read from `min` on, written as `max`. */
const FORMATS = { min: 5, max: 5 };
/** Of a token, which is written as hexadecimal digits. */
const TOKEN_BYTES = 8;
const FILE = 'node.json';
/** What a directory that was used holds besides: without the identity nobody knows whose it is. */
const DATA_ENTRIES = ['engine', 'log', 'snapshots'];

const TOKEN = /^[0-9a-f]{16}$/;

/**
 * Starts in a row that nobody accepted and that have tokens of their own; those after them share the last.
 */
const OFFERED_MAX = 32;

/**
 * What a directory shows to those who decide whether its starts are good. Each of them keeps the token of the
 * last start that it accepted, so a directory that cannot show that one is an older copy, for ever: tokens
 * are made by chance and never counted up. Every start makes one, which is written before it is shown and
 * stays until one is known to be accepted, so a crash anywhere between leaves one that fits, and a copy that
 * was made in between lacks those of the starts after it.
 */
export interface StartTokens {
  /** Who decides: a metadata member, or the metadata service as a whole for a shard node. */
  readonly acceptor: string;
  /** The last one that is known to be accepted; empty before the first. */
  readonly accepted: string;
  /**
   * Of this start, at the end, and of those before it that may have been accepted; none once this is known to
   * be accepted.
   */
  readonly offered: readonly string[];
}

type ShownTokens = Omit<StartTokens, 'acceptor'>;

/** The one that accepts the starts of shard nodes: they ask the leader of the metadata group. */
export const METADATA_ACCEPTOR = 'metadata';

export interface IdentityPorts {
  readonly disk: Disk;
  readonly rng: Rng;
}

export type StartVerdict = 'same' | 'newer' | 'older';

/** Whether a directory descends from the start that is known. */
export function judgeStart(known: string, shown: ShownTokens): StartVerdict {
  if (known === latestToken(shown)) return 'same';
  const isShown = known === shown.accepted || shown.offered.includes(known);
  return known !== '' && isShown ? 'newer' : 'older';
}

/** The one that is known when this start is accepted. */
export function latestToken({ accepted, offered }: ShownTokens): string {
  return offered.at(-1) ?? accepted;
}

/** What others send must look like tokens: they are kept. */
export function areTokens({ accepted, offered }: ShownTokens): boolean {
  const isOne = (token: string): boolean => TOKEN.test(token);
  if (offered.length > OFFERED_MAX || !offered.every(isOne)) return false;
  return accepted === '' ? offered.length > 0 : isOne(accepted);
}

/** The acceptor has accepted what it was offered. */
export function withAccepted(identity: NodeIdentity, acceptor: string): NodeIdentity {
  const starts = identity.starts.map((shown) =>
    shown.acceptor === acceptor ? { acceptor, accepted: latestToken(shown), offered: [] } : shown,
  );
  return { ...identity, starts };
}

/** A member of the metadata group, as another member knows it. */
export interface KnownMember {
  readonly name: string;
  /** Its id inside the group, given when the group was formed. */
  readonly storeId: StoreId;
  /** Of its data directory, hexadecimal. */
  readonly incarnation: string;
  /** The token of its last start that was accepted here; empty for this member itself. */
  readonly start: string;
}

/** Kinds of nodes that have a data directory, as sentences call them. */
const KINDS = { shard: 'shard node', metadata: 'metadata member' };

/** Who a data directory belongs to. A node is its directory, not its address. */
export interface NodeIdentity {
  readonly name: string;
  /** One kind knows nothing of what the other one keeps in its directory. */
  readonly kind: keyof typeof KINDS;
  /** Made once, when the directory was; 16 bytes. */
  readonly incarnation: Buffer;
  /** Empty until the node has joined for the first time. */
  readonly clusterId: string;
  /** 0 until then. */
  readonly storeId: StoreId;
  /**
   * The directory was given a log and an engine, which say so themselves: from then on a start without the
   * one or the other has lost it (see `StoreMark`).
   */
  readonly isStoreMade: boolean;
  /** One for each who accepts its starts. */
  readonly starts: readonly StartTokens[];
  /** Of this start only, 8 bytes: tells two processes apart that run copies of one directory. */
  readonly process: Buffer;
  /** Metadata members only: the group, with this member, as it was formed. Empty until then. */
  readonly members: readonly KnownMember[];
}

/** As whom a node is started. */
type NodeOwner = Pick<NodeIdentity, 'name' | 'kind'>;

/**
 * Reads the identity of a data directory, or gives an empty one a new identity, and has something to offer to
 * each of `acceptors`; for a member of a group that was formed, these are the other members. A start that is
 * refused leaves the directory as it was, but for that offer. Throws FORMAT_TOO_NEW for a directory that a
 * newer version wrote, FAILED_PRECONDITION for one of another node, of a node of another kind or of an
 * older format, CORRUPTION when the file is damaged or missing beside data.
 */
export async function openIdentity(
  { disk, rng }: IdentityPorts,
  directory: string,
  owner: NodeOwner,
  acceptors: readonly string[],
): Promise<NodeIdentity> {
  await disk.makeDirectory(directory);
  const process = Buffer.from(rng.bytes(8));
  const found = await findIdentity(disk, directory, owner);
  const known = found ?? {
    ...owner,
    incarnation: Buffer.from(rng.bytes(16)),
    clusterId: '',
    storeId: storeId(0),
    isStoreMade: false,
    starts: [],
    members: [],
  };
  const others = known.members.filter((member) => member.name !== owner.name).map((member) => member.name);
  const starts = offeredTo(others.length === 0 ? acceptors : others, known.starts, rng);
  const identity: NodeIdentity = { ...known, starts, process };
  const isChanged = found === undefined || starts.some((shown) => !found.starts.includes(shown));
  if (isChanged) await saveIdentity(disk, directory, identity);
  return identity;
}

/**
 * Offers that may have been accepted already stay: nobody knows whether they were. So does what was shown to
 * others, under a configuration that named them.
 */
function offeredTo(acceptors: readonly string[], known: readonly StartTokens[], rng: Rng): StartTokens[] {
  const kept = known.filter(({ acceptor }) => !acceptors.includes(acceptor));
  const offers = acceptors.map((acceptor) => {
    const shown = known.find((one) => one.acceptor === acceptor) ?? { acceptor, accepted: '', offered: [] };
    if (shown.offered.length >= OFFERED_MAX) return shown;
    const token = Buffer.from(rng.bytes(TOKEN_BYTES)).toString('hex');
    return { ...shown, offered: [...shown.offered, token] };
  });
  return [...offers, ...kept];
}

async function findIdentity(
  disk: Disk,
  directory: string,
  owner: NodeOwner,
): Promise<Omit<NodeIdentity, 'process'> | undefined> {
  const path = `${directory}/${FILE}`;
  if (!(await disk.exists(path))) {
    const left: string[] = [];
    for (const entry of await disk.list(directory)) {
      if (DATA_ENTRIES.includes(entry) && (await disk.list(`${directory}/${entry}`)).length > 0)
        left.push(entry);
    }
    if (left.length === 0) return undefined;
    throw new CairnError(
      'CORRUPTION',
      `data directory ${directory} holds ${left.join(', ')} and no ${FILE}, so nobody knows whose data it is: ` +
        'restore the file, or start with an empty directory',
      { details: { path } },
    );
  }
  const parsed = parse(directory, await readWholeFile(disk, path));
  checkOwner(directory, parsed, owner);
  return parsed;
}

/** @throws CairnError FAILED_PRECONDITION. */
function checkOwner(directory: string, found: NodeOwner, { name, kind }: NodeOwner): void {
  if (found.kind !== kind) {
    throw new CairnError(
      'FAILED_PRECONDITION',
      `data directory ${directory} belongs to ${KINDS[found.kind]} "${found.name}", ` +
        `this node is ${KINDS[kind]} "${name}": start a ${KINDS[found.kind]} with it, ` +
        'or give this node a directory of its own',
    );
  }
  if (found.name === name) return;
  throw new CairnError(
    'FAILED_PRECONDITION',
    `data directory ${directory} belongs to node "${found.name}", this node is "${name}": ` +
      'start it under that name, or give this node a directory of its own',
  );
}

export async function saveIdentity(disk: Disk, directory: string, identity: NodeIdentity): Promise<void> {
  const fields = {
    format: FORMATS.max,
    name: identity.name,
    kind: identity.kind,
    incarnation: identity.incarnation.toString('hex'),
    clusterId: identity.clusterId,
    storeId: identity.storeId,
    isStoreMade: identity.isStoreMade,
    starts: identity.starts.map(({ acceptor, accepted, offered }) => ({ acceptor, accepted, offered })),
    members: identity.members.map(({ name, storeId, incarnation, start }) => ({
      name,
      storeId,
      incarnation,
      start,
    })),
  };
  await writeFileDurably(disk, directory, FILE, sealedJson(fields));
}

function parse(directory: string, bytes: Buffer): Omit<NodeIdentity, 'process'> {
  const path = `${directory}/${FILE}`;
  const damaged = 'restore it, or start with an empty directory';
  const older = 'export the data with the version that wrote it';
  const what = `data directory ${directory}`;
  const fields = readSealedJson(bytes, { path, what, formats: FORMATS, remedies: { damaged, older } });
  const { name, kind, incarnation, clusterId, storeId: store, isStoreMade, starts, members } = fields;
  if (
    typeof name !== 'string' ||
    (kind !== 'shard' && kind !== 'metadata') ||
    typeof incarnation !== 'string' ||
    typeof clusterId !== 'string' ||
    typeof store !== 'number' ||
    typeof isStoreMade !== 'boolean' ||
    !Array.isArray(starts) ||
    !Array.isArray(members)
  ) {
    throw unreadable(path, 'fields missing', damaged);
  }
  return {
    name,
    kind,
    incarnation: Buffer.from(incarnation, 'hex'),
    clusterId,
    storeId: storeId(store),
    isStoreMade,
    // Both written by `saveIdentity`, as the checksum says.
    starts: starts as StartTokens[],
    members: members as KnownMember[],
  };
}
