import { parseAddress } from './fields.js';

/**
 * Hosts to listen at that mean every address of a machine: dialled elsewhere they mean that other machine.
 */
const ANY_HOSTS: readonly string[] = ['0.0.0.0', '::', '*'];

const isAnyHost = (address: string): boolean => ANY_HOSTS.includes(parseAddress(address)?.host ?? '');

/** An address that others are told must be one that they can dial. */
export function checkAdvertise({ advertise }: { readonly advertise: string }): string[] {
  if (advertise === '') return [];
  if (isAnyHost(advertise))
    return [
      `advertise is ${advertise}, which on every machine means that machine: name an address of this one.`,
    ];
  if (parseAddress(advertise)?.port === 0)
    return [`advertise is ${advertise}: others need the port at which this node is reached.`];
  return [];
}

/** Where nothing is advertised others are told where a node listens. */
export function checkListen(values: { readonly listen: string; readonly advertise: string }): string[] {
  if (values.advertise !== '' || !isAnyHost(values.listen)) return checkAdvertise(values);
  return [
    `listen is ${values.listen}, every address of this machine: name the one at which others reach it with advertise.`,
  ];
}

/** Members are dialled at their addresses in peers. */
export function checkPeerAddresses(
  peers: readonly { readonly name: string; readonly address: string }[],
): string[] {
  return peers
    .filter(({ address }) => isAnyHost(address))
    .map(
      ({ name, address }) =>
        `peers gives ${name} the address ${address}, which on every machine means that machine: name one of its own.`,
    );
}
