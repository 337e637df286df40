import { HeldQuestions } from '../changes/held-questions.js';
import { ReservationBudget, type ReservationLimits } from './reservation-budget.js';

/** What the reservations of all ranges of one store share. */
export class StoreReservations {
  readonly budget: ReservationBudget;
  /**
   * Commands that wait for a key. As large again as the queues, so that one router alone may have a whole
   * queue: see `FairShare`.
   */
  readonly held: HeldQuestions;
  /** Answers that said that a key did not become free in time. */
  timedOut = 0;

  constructor(limits: ReservationLimits) {
    this.budget = new ReservationBudget(limits);
    this.held = new HeldQuestions({ heldQuestionsMax: 2 * limits.reservationWaitersMax });
  }
}
