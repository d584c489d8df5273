// One run, by what stands behind the "#".
(function () {
  "use strict";
  const { make, run, isKey } = window.paretoboard;
  const place = document.getElementById("run");
  const known = place.dataset.shards.split(" ");
  let asked = 0;

  function facts(pairs) {
    return make("dl", {}, ...pairs.map(([label, text]) => make("div", {}, make("dt", {}, label), make("dd", {}, String(text)))));
  }

  function said(value) {
    return value === null || value === "" ? "–" : value;
  }

  // Made by our own templates, which escape every text; the page's policy lets no script of it run.
  function fromTemplate(html) {
    return [...new DOMParser().parseFromString(html, "text/html").body.childNodes].map((node) => document.importNode(node, true));
  }

  function light({ row, environment }) {
    const numbers = Object.entries(row).filter(([name]) => !["key", "command"].includes(name));
    const software = Object.entries({ ...environment, libraries: undefined, ...(environment || {}).libraries }).filter(([, value]) => value !== undefined);
    const quality = row.quality === null ? [] : [make("p", { class: "run-value" }, make("b", {}, (100 * row.quality).toFixed(2) + " %"),
      make("small", {}, ` ${row.quality_metric}` + (row.quality_low === null ? "" : `, 95 % interval ${(100 * row.quality_low).toFixed(2)} to ${(100 * row.quality_high).toFixed(2)}`) + `, n = ${said(row.quality_n)}`))];
    return [
      ...quality,
      make("p", {}, row.place === "on a board" ? "A run behind a row of a board, whose newest run stands there in full." : `Not on a board: ${row.place}.`),
      make("h2", {}, "The same again"), make("pre", {}, make("code", {}, row.command)),
      make("h2", {}, "What is stored"), facts(numbers.map(([name, value]) => [name, said(value)])),
      make("h2", {}, "Software"), facts(software),
    ];
  }

  function record(found) {
    const content = found.full ? found.full.record : { ...found.row, environment: found.environment };
    const fold = make("details", {}, make("summary", {}, "The record as JSON"));
    // The text is long: it is only put into the document when somebody looks.
    fold.addEventListener("toggle", () => fold.append(make("pre", {}, JSON.stringify(content, null, 1))), { once: true });
    return fold;
  }

  function others(found) {
    if (!found.others.length) return [];
    const links = found.others.map((key) => make("li", {}, make("a", { href: "#" + key }, key)));
    return [make("h2", {}, "The same run, measured at other times or elsewhere"), make("ul", {}, ...links)];
  }

  async function show() {
    const name = location.hash.slice(1);
    // Links within the page are none of our business.
    if (place.childElementCount && !isKey(name)) return;
    const turn = ++asked;
    const found = await run(name, known);
    if (turn !== asked) return;
    if (!found) {
      document.getElementById("title").textContent = "No such run";
      place.replaceChildren(make("p", {}, "No run of this name is stored. ", make("a", { href: "explore.html" }, "All runs")));
    } else {
      const { row } = found;
      const title = `${row.recipe} on ${row.title}, seed ${row.seed}`;
      document.title = `${title} · paretoboard`;
      document.getElementById("title").textContent = title;
      const failed = row.status === "ok" ? [] : [make("p", { class: "notice" }, `${row.status}: ${row.reason}`)];
      place.replaceChildren(...failed, ...(found.full ? fromTemplate(found.full.html) : light(found)), ...others(found), record(found));
    }
    document.documentElement.dataset.ready = "run";
  }

  function failed(error) {
    place.replaceChildren(make("p", { role: "alert" }, "The run could not be read: " + error.message));
  }
  addEventListener("hashchange", () => show().catch(failed));
  show().catch(failed);
})();
