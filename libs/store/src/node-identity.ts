import { CairnError, storeId, type StoreId } from '@cairn/base';
import { crc32 } from '@cairn/codec';
import { readWholeFile, writeFileDurably, type Disk, type Rng } from '@cairn/ports';

/** Version of the layout of a shard node's data directory. */
export const DATA_FORMAT = 1;
const FILE = 'node.json';

/** Who a data directory belongs to. A node is its directory, not its address. */
export interface NodeIdentity {
  readonly name: string;
  /** Made once, when the directory was; 16 bytes. */
  readonly incarnation: Buffer;
  /** Empty until the node has joined for the first time. */
  readonly clusterId: string;
  /** 0 until then. */
  readonly storeId: StoreId;
}

/**
 * Reads the identity of a data directory, or gives an empty one a new identity. Throws FORMAT_TOO_NEW for a
 * directory that a newer version wrote, FAILED_PRECONDITION for one of another node, CORRUPTION when the file
 * is damaged.
 */
export async function openIdentity(
  disk: Disk,
  rng: Rng,
  directory: string,
  name: string,
): Promise<NodeIdentity> {
  await disk.makeDirectory(directory);
  if (!(await disk.exists(`${directory}/${FILE}`))) {
    const identity: NodeIdentity = {
      name,
      incarnation: Buffer.from(rng.bytes(16)),
      clusterId: '',
      storeId: storeId(0),
    };
    await saveIdentity(disk, directory, identity);
    return identity;
  }
  const parsed = parse(directory, (await readWholeFile(disk, `${directory}/${FILE}`)).toString('utf8'));
  if (parsed.name !== name) {
    throw new CairnError(
      'FAILED_PRECONDITION',
      `data directory ${directory} belongs to node "${parsed.name}", this node is "${name}": ` +
        'start it under that name, or give this node a directory of its own',
    );
  }
  return parsed;
}

export async function saveIdentity(disk: Disk, directory: string, identity: NodeIdentity): Promise<void> {
  const fields = {
    format: DATA_FORMAT,
    name: identity.name,
    incarnation: identity.incarnation.toString('hex'),
    clusterId: identity.clusterId,
    storeId: identity.storeId,
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

function parse(directory: string, text: string): NodeIdentity {
  const unreadable = (why: string): CairnError =>
    new CairnError(
      'CORRUPTION',
      `${directory}/${FILE} cannot be read (${why}): restore it, or start with an empty directory`,
      { details: { path: `${directory}/${FILE}` } },
    );
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw unreadable(String(error));
  }
  if (typeof value !== 'object' || value === null) throw unreadable('not an object');
  const fields = value as Record<string, unknown>;
  const { format, name, incarnation, clusterId, storeId: store } = fields;
  if (typeof format === 'number' && format > DATA_FORMAT) {
    throw new CairnError(
      'FORMAT_TOO_NEW',
      `data directory ${directory} has format ${format}, this version reads up to ${DATA_FORMAT}: start a newer version`,
      { details: { path: `${directory}/${FILE}` } },
    );
  }
  if (
    format !== DATA_FORMAT ||
    typeof name !== 'string' ||
    typeof incarnation !== 'string' ||
    typeof clusterId !== 'string' ||
    typeof store !== 'number'
  ) {
    throw unreadable('fields missing');
  }
  if (fields['checksum'] !== checksumOf({ format, name, incarnation, clusterId, storeId: store })) {
    throw unreadable('its checksum does not match');
  }
  return { name, incarnation: Buffer.from(incarnation, 'hex'), clusterId, storeId: storeId(store) };
}
