// Names that the pages show.

// What slow motion says of a phase, in this order; then come terms, of which a run says the titles itself.
const TITLES = {
  threshold: "threshold τ", length: "numbers each", confidence_real: "taken for real: real",
  confidence_fake: "taken for real: fake", gradient: "‖gradient‖", student_steps: "steps like this",
  guidance_first: "guidance at first",
};
export const NUMBERS = [
  "threshold", "levels", "length", "collected", "confidence_real", "confidence_fake", "student_loss", "gradient",
  "learning_rate", "student_steps", "guidance_first",
];
export const title = (name) => TITLES[name] || name.replaceAll("_", " ");

// Figures of a generative student; the ELBO is the one that is better when it is higher.
export const FIGURES = { fid: "FID", mismatch: "mismatch", mse: "reconstruction error", elbo: "ELBO" };

// What a generative sheet's column `panel` says, as in dfkd_core/runs/latent_evaluation.py, and images of one
// interpolation.
export const PANELS = {
  real: 0, teacherAgain: 1, studentAgain: 2, teacherBetween: 3, studentBetween: 4, teacher: 5, student: 6, made: 7,
};
export const BETWEEN = 10;
