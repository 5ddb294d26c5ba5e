// One sample at large: what both networks say of it, who lies near, and the same latent at other steps.

const LISTED = 10; // classes shown by name; the others in one line

class Drawer {
  constructor(node, scope) {
    this.node = node;
    this.scope = scope;
  }

  draw() {
    const { scope, node } = this;
    const { frame, opened } = scope;
    const shown = frame && opened != null;
    node.hidden = !shown;
    if (!shown) {
      this.drawn = null;
      return;
    }
    node.dataset.side = scope.openedFrom;
    const detail = scope.need(["detail", frame.source, frame.step, opened].join(" "));
    const film = frame.source === "probes" ? scope.need(`film ${opened} ${scope.data.steps.probes.length}`) : null;
    const parts = [
      scope.run,
      frame.source,
      frame.step,
      opened,
      !detail,
      !film,
      film?.ready,
      scope.verdicts,
      scope.theme.background,
    ];
    const key = [...parts, Boolean(scope.real?.ready), scope.tags.version].join("|");
    if (key === this.drawn) return;
    this.drawn = key;
    const scrolled = node.scrollTop;
    node.replaceChildren(this.head(frame, opened), this.body(frame, opened, detail, film));
    node.scrollTop = scrolled;
    const strip = node.querySelector(".scope-film .scope-strip");
    const current = strip?.querySelector("[aria-current=true]");
    if (current) strip.scrollLeft = current.offsetLeft - strip.offsetLeft - strip.clientWidth / 2;
  }

  head(frame, index) {
    const close = element("button", { title: "Close (Escape)", "aria-label": "Close" }, "✕");
    close.addEventListener("click", () => this.scope.close());
    const name = frame.source === "probes" ? "Latent " + index : "Sample " + index;
    return element("header", {}, element("h4", {}, name, element("span", {}, "step " + frame.step)), close);
  }

  body(frame, index, detail, film) {
    const body = element("div", {}, this.facts(frame, index, detail), ...this.film(frame, index, film));
    if (detail === undefined) return body.append(element("p", { className: "scope-hint" }, "Looking…")) || body;
    if (detail?.teacher) body.append(this.distributions(detail));
    else body.append(element("p", { className: "scope-hint" }, "This run kept no class distributions of its samples."));
    body.append(...this.strips(frame, detail));
    return body;
  }

  facts(frame, index, detail) {
    const { scope } = this;
    const { verdict } = scope;
    const clean = verdict.clean[index];
    const image = this.picture(frame, index, 112);
    image.className = clean ? "clean" : "rejected";
    const row = (name, value, help) => [element("dt", { title: help }, name), element("dd", {}, value)];
    const facts = element(
      "dl",
      {},
      ...row(
        "verdict",
        (clean ? "clean" : "rejected") + (verdict.hypothetical ? " (what-if)" : ""),
        "Posterior above τ, or not",
      ),
      ...row(
        "teacher",
        scope.className(frame.label[index]) + ", " + percent(frame.confidence[index]),
        "Argmax and softmax",
      ),
      ...row("student", scope.className(frame.student_label[index]), "The student's argmax"),
      ...row("loss", brief(frame.loss[index]) + " nats", "Cross-entropy of the teacher with its own argmax"),
    );
    if (frame.posterior)
      facts.append(...row("posterior", frame.posterior[index].toFixed(4), "P(low component | loss)"));
    if (detail?.inside != null) {
      const words = detail.inside ? "★ inside" : "× outside";
      facts.append(...row("boundary", words, "Of the real class that the teacher names, in the teacher's features"));
    }
    if (verdict.flagged[index]) {
      const why =
        "The teacher is surer of it than of any clean sample: the mixture's wide component wins below the narrow one.";
      facts.append(element("dd", { className: "scope-flag" }, "⚑ " + why));
    }
    return element("div", { className: "scope-facts" }, image, facts);
  }

  picture(frame, index, side) {
    const canvas = element("canvas", {
      width: side * 2,
      height: side * 2,
      role: "img",
      "aria-label": this.scope.words(index),
    });
    canvas.style.width = canvas.style.height = side + "px";
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = frame.width > side;
    frame.paint(context, index, 0, 0, side * 2);
    return canvas;
  }

  // Both answers class by class, the likeliest first; what is left over in one line.
  distributions({ teacher, student }) {
    const likeliest = teacher.map((value, label) => [Math.max(value, student?.[label] ?? 0), label]);
    const order = likeliest.sort((a, b) => b[0] - a[0]).map(([, label]) => label);
    const named = order.length <= LISTED + 1 ? order.sort((a, b) => a - b) : order.slice(0, LISTED);
    const rest = order.length > named.length ? order.slice(LISTED) : [];
    const sum = (values) => rest.reduce((total, label) => total + values[label], 0);
    const lines = named.map((label) => this.line(this.scope.className(label), teacher[label], student?.[label]));
    if (rest.length) lines.push(this.line(rest.length + " others", sum(teacher), student && sum(student)));
    const legend = element(
      "span",
      {},
      element("i", { className: "teacher" }, "teacher"),
      element("i", { className: "student" }, "student"),
    );
    return element(
      "section",
      {},
      element("h5", {}, "Class distributions", legend),
      element("div", { className: "scope-bars" }, ...lines.flat()),
    );
  }

  line(name, teacher, student) {
    const bar = (who, value) => {
      const fill = element("u", { className: who });
      fill.style.width = 100 * value + "%";
      return fill;
    };
    const bars = element("span", {}, bar("teacher", teacher), ...(student == null ? [] : [bar("student", student)]));
    const words = whole(teacher) + (student == null ? "" : " · " + whole(student));
    return [element("b", { title: name }, name), bars, element("small", {}, words)];
  }

  strips(frame, detail) {
    const { scope } = this;
    const found = [];
    if (detail?.nearest_real?.length && scope.real?.ready) {
      const tiles = detail.nearest_real.map(([index, distance]) =>
        this.thumb(scope.real, index, distance.toFixed(2), "real", scope.realWords(index)),
      );
      found.push(this.strip("Nearest real images", "distance in the teacher's features", tiles));
    }
    if (detail?.nearest_clean?.length) {
      const tiles = detail.nearest_clean.map(([index, distance]) => {
        const tile = this.thumb(frame, index, distance.toFixed(2), "clean", scope.words(index));
        tile.addEventListener("click", () => scope.jump(index));
        return tile;
      });
      found.push(this.strip("Nearest clean images", "of this step", tiles));
    }
    return found;
  }

  film(frame, index, film) {
    if (frame.source !== "probes" || !film?.ready || !film.steps.length) return [];
    const tiles = film.steps.map(({ step, label, clean }, nth) => {
      const tile = element("button", {
        className: "scope-tile " + (clean ? "clean" : "rejected"),
        title: "Go to step " + step,
        dataset: { step },
        "aria-label": `At step ${step}: ${clean ? "clean" : "rejected"}, the teacher says ${this.scope.className(label)}`,
      });
      const canvas = element("canvas", { width: film.width, height: film.height });
      canvas.getContext("2d").drawImage(film.strip, -nth * film.width, 0);
      tile.append(canvas, element("small", {}, element("b", {}, this.scope.className(label)), " " + step));
      tile.setAttribute("aria-current", String(step === frame.step));
      tile.addEventListener("click", () => this.scope.goTo(step));
      return tile;
    });
    const strip = this.strip("This latent at other steps", "class and step; click to go there", tiles);
    strip.classList.add("scope-film");
    return [strip];
  }

  strip(name, note, tiles) {
    return element(
      "section",
      {},
      element("h5", {}, name, element("span", {}, note)),
      element("div", { className: "scope-strip" }, ...tiles),
    );
  }

  thumb(frame, index, caption, verdict, words) {
    const tile = element("button", { className: "scope-tile " + verdict, title: words, "aria-label": words });
    const canvas = element("canvas", { width: frame.width, height: frame.height });
    frame.paint(canvas.getContext("2d"), index, 0, 0, frame.width);
    tile.append(canvas, element("small", {}, caption));
    return tile;
  }
}
