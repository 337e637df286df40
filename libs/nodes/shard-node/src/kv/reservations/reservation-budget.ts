/** Bounds of the reservations of one store. */
export interface ReservationLimits {
  /** Reservations of all owners. Default 100,000. */
  readonly reservationsMax: number;
  /** Places in queues for keys. Default 10,000. */
  readonly reservationWaitersMax: number;
  /** Estimated bytes of what is kept of reserved keys. Default 128 MiB. */
  readonly reservationBytesMax: number;
}

/** What reservations and their queues take of a store, in all of its ranges. */
export class ReservationBudget {
  readonly #limits: ReservationLimits;
  #reservations = 0;
  #waiters = 0;
  #bytes = 0;

  constructor(limits: ReservationLimits) {
    this.#limits = limits;
  }

  get reservations(): number {
    return this.#reservations;
  }

  get waiters(): number {
    return this.#waiters;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** False when there is no room for it. `bytes`: of a key of which nothing is kept yet. */
  takeReservation(bytes: number): boolean {
    const { reservationBytesMax, reservationsMax } = this.#limits;
    if (this.#reservations >= reservationsMax || this.#bytes + bytes > reservationBytesMax) return false;
    this.#reservations += 1;
    this.#bytes += bytes;
    return true;
  }

  /** False when there is no place for it. The key that it waits for is kept already. */
  takePlace(): boolean {
    if (this.#waiters >= this.#limits.reservationWaitersMax) return false;
    this.#waiters += 1;
    return true;
  }

  giveReservation(): void {
    this.#reservations -= 1;
  }

  givePlace(): void {
    this.#waiters -= 1;
  }

  giveBytes(bytes: number): void {
    this.#bytes -= bytes;
  }
}
