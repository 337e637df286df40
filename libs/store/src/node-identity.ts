import { CairnError, storeId, type StoreId } from '@cairn/base';
import { crc32 } from '@cairn/codec';
import { readWholeFile, writeFileDurably, type Disk, type Rng } from '@cairn/ports';

/** Version of the layout of a data directory. */
export const DATA_FORMAT = 2;
const FILE = 'node.json';
/** What a directory that was used holds besides: without the identity nobody knows whose it is. */
const DATA_ENTRIES = ['engine', 'log', 'snapshots'];

/** A member of the metadata group, as another member knows it. */
export interface KnownMember {
  readonly name: string;
  /** Its id inside the group, given when the group was formed. */
  readonly storeId: StoreId;
  /** Of its data directory, hexadecimal. */
  readonly incarnation: string;
  /** Its last start that was heard of; a lower one is an older copy of its directory. */
  readonly boots: number;
  /** The process of that start, hexadecimal. */
  readonly process: string;
}

/** Who a data directory belongs to. A node is its directory, not its address. */
export interface NodeIdentity {
  readonly name: string;
  /** Made once, when the directory was; 16 bytes. */
  readonly incarnation: Buffer;
  /** Empty until the node has joined for the first time. */
  readonly clusterId: string;
  /** 0 until then. */
  readonly storeId: StoreId;
  /** Starts of this directory, this one included: a copy that was left behind has fewer. */
  readonly boots: number;
  /** Of this start only, 8 bytes: tells two processes apart that run copies of one directory. */
  readonly process: Buffer;
  /** Metadata members only: the group, with this member, as it was formed. Empty until then. */
  readonly members: readonly KnownMember[];
}

/**
 * Reads the identity of a data directory, or gives an empty one a new identity, and counts this start. Throws
 * FORMAT_TOO_NEW for a directory that a newer version wrote, FAILED_PRECONDITION for one of another node or
 * of an older format, CORRUPTION when the file is damaged or missing beside data.
 */
export async function openIdentity(
  disk: Disk,
  rng: Rng,
  directory: string,
  name: string,
): Promise<NodeIdentity> {
  await disk.makeDirectory(directory);
  const process = Buffer.from(rng.bytes(8));
  const found = await findIdentity(disk, directory, name);
  const identity: NodeIdentity =
    found === undefined
      ? {
          name,
          incarnation: Buffer.from(rng.bytes(16)),
          clusterId: '',
          storeId: storeId(0),
          boots: 1,
          process,
          members: [],
        }
      : { ...found, boots: found.boots + 1, process };
  await saveIdentity(disk, directory, identity);
  return identity;
}

async function findIdentity(
  disk: Disk,
  directory: string,
  name: string,
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
  const parsed = parse(directory, (await readWholeFile(disk, path)).toString('utf8'));
  if (parsed.name === name) return parsed;
  throw new CairnError(
    'FAILED_PRECONDITION',
    `data directory ${directory} belongs to node "${parsed.name}", this node is "${name}": ` +
      'start it under that name, or give this node a directory of its own',
  );
}

export async function saveIdentity(disk: Disk, directory: string, identity: NodeIdentity): Promise<void> {
  const fields = {
    format: DATA_FORMAT,
    name: identity.name,
    incarnation: identity.incarnation.toString('hex'),
    clusterId: identity.clusterId,
    storeId: identity.storeId,
    boots: identity.boots,
    members: identity.members.map(({ name, storeId, incarnation, boots, process }) => ({
      name,
      storeId,
      incarnation,
      boots,
      process,
    })),
  };
  const text = JSON.stringify({ ...fields, checksum: checksumOf(fields) });
  await writeFileDurably(disk, directory, FILE, Buffer.from(`${text}\n`));
}

/** Of the fields before it, as they are written. */
function checksumOf(fields: object): string {
  return crc32(Buffer.from(JSON.stringify(fields)))
    .toString(16)
    .padStart(8, '0');
}

function parse(directory: string, text: string): Omit<NodeIdentity, 'process'> {
  const details = { path: `${directory}/${FILE}` };
  const unreadable = (why: string): CairnError =>
    new CairnError(
      'CORRUPTION',
      `${directory}/${FILE} cannot be read (${why}): restore it, or start with an empty directory`,
      { details },
    );
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw unreadable(String(error));
  }
  if (typeof value !== 'object' || value === null) throw unreadable('not an object');
  const { checksum, ...fields } = value as Record<string, unknown>;
  const { format, name, incarnation, clusterId, storeId: store, boots, members } = fields;
  if (typeof format === 'number' && format > DATA_FORMAT) {
    throw new CairnError(
      'FORMAT_TOO_NEW',
      `data directory ${directory} has format ${format}, this version reads ${DATA_FORMAT}: start a newer version`,
      { details },
    );
  }
  // The writer's order of the fields is in the text, so what was parsed gives the same bytes again.
  if (checksum !== checksumOf(fields)) throw unreadable('its checksum does not match');
  if (format !== DATA_FORMAT) {
    throw new CairnError(
      'FAILED_PRECONDITION',
      `data directory ${directory} has format ${String(format)}, this version reads ${DATA_FORMAT}: ` +
        'export the data with the version that wrote it',
      { details },
    );
  }
  if (
    typeof name !== 'string' ||
    typeof incarnation !== 'string' ||
    typeof clusterId !== 'string' ||
    typeof store !== 'number' ||
    typeof boots !== 'number' ||
    !Array.isArray(members)
  ) {
    throw unreadable('fields missing');
  }
  return {
    name,
    incarnation: Buffer.from(incarnation, 'hex'),
    clusterId,
    storeId: storeId(store),
    boots,
    // Written by `saveIdentity`, as the checksum says.
    members: members as KnownMember[],
  };
}
