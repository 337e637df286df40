import type { NodePlacement } from '@cairn/local-cluster';
import { mustRun, runCommand } from './commands.js';
import type { Break, FaultyNetwork } from './network.js';

const SUBNET = '10.77.0';
const HUB = 'hub';
/** Where the runner and its clients are. */
const HUB_ADDRESS = `${SUBNET}.1`;
/** Nobody has it: frames to this address vanish without a trace, as on a line that loses them. */
const NOWHERE = '02:00:00:00:ff:ff';
/** Slow and, when more is sent than that, lossy. */
const NETEM = 'netem delay 40ms 30ms loss 3%';
/** Where the kernel has no netem: so little bandwidth that queues build up and overflow. */
const NARROW = 'tbf rate 400kbit burst 4kb latency 400ms';

interface Port {
  readonly node: string;
  readonly namespace: string;
  /** End of the wire at the hub. */
  readonly wire: string;
  readonly address: string;
}

function ipBatch(lines: readonly string[]): Promise<void> {
  return lines.length === 0 ? Promise.resolve() : mustRun('ip', ['-batch', '-'], `${lines.join('\n')}\n`);
}

/**
 * One network namespace per node, each with a wire to a bridge. Must be made inside a sandbox: it mounts over
 * `/run` and uses fixed names.
 *
 * One direction between two nodes is cut by a lie in the sender's neighbour table: frames go to a hardware
 * address that nobody has. That needs no packet filter, which small kernels lack, and the sender notices
 * nothing, unlike with a route that refuses.
 */
export class NetnsNetwork implements FaultyNetwork {
  readonly kind = 'netns';
  readonly faults = ['cut', 'deaf', 'mute', 'partition', 'slow', 'flap'] as const;
  readonly #ports: readonly Port[];
  readonly #slow: string;
  #undo: (() => Promise<void>)[] = [];

  private constructor(ports: readonly Port[], slow: string) {
    this.#ports = ports;
    this.#slow = slow;
  }

  static async create(nodes: readonly string[]): Promise<NetnsNetwork> {
    await mustRun('mount', ['-t', 'tmpfs', 'tmpfs', '/run']);
    const ports = nodes.map((node, at) => ({
      node,
      namespace: `n${at}`,
      wire: `w${at}`,
      address: `${SUBNET}.${at + 2}`,
    }));
    await ipBatch([
      `link add name ${HUB} type bridge`,
      `addr add ${HUB_ADDRESS}/24 dev ${HUB}`,
      `link set ${HUB} up`,
      ...ports.flatMap(({ namespace, wire }) => [
        `netns add ${namespace}`,
        `link add name ${wire} type veth peer name eth0 netns ${namespace}`,
        `link set ${wire} master ${HUB} up`,
      ]),
    ]);
    for (const { namespace, address } of ports) {
      await mustRun(
        'ip',
        ['-netns', namespace, '-batch', '-'],
        `link set lo up\naddr add ${address}/24 dev eth0\nlink set eth0 up\n`,
      );
    }
    const probe = await runCommand('tc', ['qdisc', 'add', 'dev', HUB, 'root', ...NETEM.split(' ')]);
    if (probe.code === 0) await mustRun('tc', ['qdisc', 'del', 'dev', HUB, 'root']);
    return new NetnsNetwork(ports, probe.code === 0 ? NETEM : NARROW);
  }

  readonly place = (name: string): NodePlacement => {
    const { namespace, address } = this.#portOf(name);
    return { host: address, launcher: ['nsenter', `--net=/run/netns/${namespace}`] };
  };

  async break(how: Break): Promise<void> {
    switch (how.kind) {
      case 'cut': {
        const { wire } = this.#portOf(how.node);
        this.#undo.push(() => ipBatch([`link set ${wire} up`]));
        return ipBatch([`link set ${wire} down`]);
      }
      case 'deaf': {
        const { address } = this.#portOf(how.node);
        await this.#lose(undefined, [address]);
        return this.#loseAll(this.#others([how.node]), [address]);
      }
      case 'mute': {
        const others = this.#others([how.node]).map(({ address }) => address);
        return this.#lose(this.#portOf(how.node), [...others, HUB_ADDRESS]);
      }
      case 'partition': {
        const inside = how.nodes.map((node) => this.#portOf(node));
        const outside = this.#others(how.nodes);
        const addresses = (ports: readonly Port[]): string[] => ports.map(({ address }) => address);
        await this.#loseAll(inside, addresses(outside));
        return this.#loseAll(outside, addresses(inside));
      }
      case 'slow': {
        const port = this.#portOf(how.node);
        await this.#narrow([], port.wire);
        return this.#narrow(['-netns', port.namespace], 'eth0');
      }
    }
  }

  async heal(): Promise<void> {
    const undo = this.#undo;
    this.#undo = [];
    for (const each of undo) await each();
  }

  /** The sandbox takes everything with it. */
  async close(): Promise<void> {
    await this.heal();
  }

  #portOf(node: string): Port {
    const found = this.#ports.find((port) => port.node === node);
    if (found === undefined) throw new Error(`there is no node ${node} in this network`);
    return found;
  }

  #others(nodes: readonly string[]): Port[] {
    return this.#ports.filter(({ node }) => !nodes.includes(node));
  }

  async #loseAll(senders: readonly Port[], receivers: readonly string[]): Promise<void> {
    for (const sender of senders) await this.#lose(sender, receivers);
  }

  /** What the sender (undefined: the runner) sends to these addresses is lost. */
  async #lose(sender: Port | undefined, receivers: readonly string[]): Promise<void> {
    const [inside, device] = sender === undefined ? [[], HUB] : [['-netns', sender.namespace], 'eth0'];
    const batch = (lines: readonly string[]): Promise<void> =>
      mustRun('ip', [...inside, '-batch', '-'], `${lines.join('\n')}\n`);
    this.#undo.push(() => batch(receivers.map((address) => `neigh del ${address} dev ${device}`)));
    await batch(
      receivers.map((address) => `neigh replace ${address} lladdr ${NOWHERE} dev ${device} nud permanent`),
    );
  }

  async #narrow(inside: readonly string[], device: string): Promise<void> {
    const tc = (verb: string, more: readonly string[]): Promise<void> =>
      mustRun('tc', [...inside, 'qdisc', verb, 'dev', device, 'root', ...more]);
    this.#undo.push(() => tc('del', []));
    await tc('add', this.#slow.split(' '));
  }
}
