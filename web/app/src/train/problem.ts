/** Something that went wrong, in words for whoever holds the phone. */
export class Problem extends Error {
  override readonly name = "Problem";

  /**
   * @param message What happened.
   * @param advice What to do now.
   */
  constructor(
    message: string,
    readonly advice: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
