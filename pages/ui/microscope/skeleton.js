// What the microscope is made of. Texts of buttons and headings stand here, all else is filled in.

import { track } from "../web/scrubber.js";

// A heading that leads to the glossary.
const term = (name, words, about = "") =>
  `<a data-term="${name}" target="dfkd-glossary"${about}>${words}</a>`;

const drawn = (canvas) => `
      <div class="scope-canvas"><canvas ${canvas}></canvas><div class="scope-tip" hidden></div></div>`;

export const SKELETON = `
  <div class="scope-head">
    <div class="scope-title"></div>
    <div class="scope-switch" role="group" aria-label="Which images">
      <button data-source="samples" title="The batch that this step trained on">Batch of the step</button>
      <button data-source="probes" title="The same latents at every recorded step">Fixed latents</button></div>
    <span class="scope-state"></span>
    <button class="scope-distill" title="This run on the page Distill">Open in Distill</button>
  </div>
  <div class="scope-message" role="status" hidden></div>
  ${track("Recorded")}
  <div class="scope-line">
    <div class="scope-verdict" role="status"></div><button class="scope-flags" hidden></button>
    <div class="scope-export"><span></span><span class="scope-buttons" role="group" aria-label="Export as">
      <button data-form="png" title="The images on one sheet">PNG</button>
      <button data-form="csv" title="A table: one row a sample">CSV</button>
      <button data-form="npz" title="Images and all columns, for numpy">NPZ</button></span></div>
  </div>
  <div class="scope-line scope-tags">
    <span class="scope-chosen"></span><button class="scope-clear" title="Escape">Clear</button>
    <form><input list="scope-names" maxlength="40" placeholder="tag" aria-label="Tag for the selected samples">
      <datalist id="scope-names"></datalist><button type="submit">Tag</button></form>
    <button class="scope-undo" title="Take back the last change of tags">Undo</button><span class="scope-chips"></span>
  </div>
  <div class="scope-grid">
    <section class="scope-panel scope-judged">
      <h4>${term("judged loss", "Judged losses")}<span class="scope-legend"></span></h4>
      ${drawn(`tabindex="0" role="img"`)}
      <label class="scope-cut">
        ${term("threshold", "τ", ` title="Posterior cut: a sample is clean above it"`)}
        <input type="range" min="0" max="0.999" step="0.001" aria-label="Posterior cut τ, tried out">
        <input type="number" min="0" max="0.999" step="0.05" aria-label="Posterior cut τ as a number">
        <em hidden>${term("what-if cut", "what-if")}</em>
        <button class="scope-reset" title="Back to the run's own τ" hidden>Reset</button></label>
    </section>
    <section class="scope-panel scope-classes"><h4><b></b><span></span></h4>${drawn(`role="img"`)}</section>
    <section class="scope-panel scope-images">
      <h4>${term("synthetic image", "Images")}<span></span>
        <label>sort <select class="scope-sort"></select></label>
        <label>show <select class="scope-show"></select></label>
        <span class="scope-buttons"><button data-size="0.8" aria-label="Smaller images">−</button>
          <button data-size="1.25" aria-label="Larger images">+</button></span></h4>
      <div class="scope-canvas">
        <div class="scope-port" tabindex="0" role="application"
          aria-label="Images. Arrows move, space selects, shift extends, Enter opens.">
          <canvas></canvas><div class="scope-space"></div></div>
        <div class="scope-empty" hidden></div></div>
    </section>
    <section class="scope-panel scope-map">
      <h4>${term("projection", "Projection")}
        <span class="scope-buttons scope-kinds" role="group" aria-label="Kind of projection">
          <button data-kind="pca">PCA</button><button data-kind="umap">UMAP</button>
          <button data-kind="tsne">t-SNE</button></span>
        <label>colour <select class="scope-colour"></select></label>
        <span class="scope-buttons">
          <button class="scope-mark" aria-label="Mark what is inside the boundary">★ / ×</button></span></h4>
      <div class="scope-legend scope-map-legend"></div>
      <div class="scope-canvas">
        <canvas class="scope-base"></canvas>
        <canvas class="scope-over" tabindex="0" role="img"
          aria-label="Projection of the teacher's features. Plus and minus zoom, arrows move, 0 resets."></canvas>
        <div class="scope-thumb" hidden><canvas></canvas><span></span></div><div class="scope-empty" hidden></div>
        <span class="scope-buttons scope-tools" role="group" aria-label="What a drag does">
          <button data-tool="lasso" aria-label="Lasso" title="Drag: lasso">✎</button>
          <button data-tool="box" aria-label="Rectangle" title="Drag: rectangle">⬚</button>
          <button data-tool="pan" aria-label="Move" title="Drag: move (Alt with any tool)">✥</button>
          <button data-tool="home" aria-label="Whole picture" title="Double click: whole picture">⤢</button></span>
      </div>
      <div class="scope-job" role="status" hidden></div><div class="scope-note"></div>
    </section>
    <aside class="scope-drawer" role="dialog" aria-label="One sample" tabindex="-1" hidden></aside>
  </div>
  <section class="scope-panel scope-audit" hidden>
    <h4>${term("selection audit", "Selection audit")}<span></span></h4>
    <div>
      <div><table><thead><tr><th></th><th>★ inside</th><th>× outside</th></tr></thead>
          <tbody><tr><th class="clean">clean</th><td></td><td></td></tr>
            <tr><th class="rejected">rejected</th><td></td><td></td></tr></tbody></table>
        <p class="scope-reading"></p></div>
      <figure><figcaption>Inside its real class <i class="clean">clean</i> <i class="rejected">rejected</i>
          <i class="dot" title="Share of those inside that are clean">recall</i></figcaption>
        <div class="scope-inside" role="figure" aria-label="Share inside the real class over the training"></div>
      </figure>
      <figure><figcaption>Student disagrees <i class="clean">clean</i> <i class="rejected">rejected</i></figcaption>
        <div class="scope-disagree" role="figure"
          aria-label="Share on which the student disagrees with the teacher, over the training"></div></figure>
    </div>
  </section>
  <div class="scope-spoken" aria-live="polite"></div>`;
