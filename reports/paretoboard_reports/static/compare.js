// Two to five runs side by side. A difference is only shown where the rule (comparable.py) lets all be compared.
(function () {
  "use strict";
  const { make, run, isKey, kinds } = window.paretoboard;
  const place = document.getElementById("compare");
  const known = place.dataset.shards.split(" ");
  const rule = JSON.parse(place.dataset.rule);
  const MOST = 5;
  // column: [heading, unit, factor, whether less is better; null where neither is]
  const MEASURED = {
    quality: ["Quality", "%", 100, false], latency: ["Latency", "ms", 1e3, true], ratio: ["Time over the baseline’s", "×", 1, true],
    throughput: ["Throughput", "images/s", 1, false], file_size: ["File", "kB", 1e-3, true], peak_memory: ["Peak memory", "MB", 1e-6, true],
    train_time: ["Training", "s", 1, true], energy: ["Energy", "J", 1, true], macs: ["MACs", "M", 1e-6, true], parameters: ["Parameters", "", 1, true],
  };
  const TOLD = ["recipe", "techniques", "task", "task_version", "model", "dataset", "subset", "profile", "seed", "status", "reason", "quality_metric",
    "small_batch", "hardware_name", "hardware_id", "environment_id", "board_id", "commit", "started_at", "place"];
  let asked = 0;

  // The rule

  function differing(fields, one, two) {
    return Object.entries(fields).filter(([field]) => String(one[field]) !== String(two[field]))
      .map(([field, words]) => ({ field: field, words: words, first: String(one[field]), second: String(two[field]) }));
  }

  function guard(one, two) {
    let key = differing(rule.key, one, two);
    const environment = differing(rule.environment, one, two);
    if (key.length > 1 && key.some(({ field }) => field !== "hardware_id" && field !== "board_id")) key = key.filter(({ field }) => field !== "board_id");
    return { level: key.length ? "different" : environment.length ? "compatible" : "same", differences: [...key, ...environment] };
  }

  // Numbers

  // The interval of a difference of two independent numbers from their own intervals (MOVER; Zou & Donner 2008,
  // doi:10.1002/sim.3095); null without intervals.
  function independent(one, two, name) {
    const ends = [one[name + "_low"], one[name + "_high"], two[name + "_low"], two[name + "_high"]];
    if (ends.some((end) => end === undefined || end === null)) return null;
    const [oneLow, oneHigh, twoLow, twoHigh] = ends;
    const difference = two[name] - one[name];
    return { difference: difference, low: difference - Math.hypot(two[name] - twoLow, oneHigh - one[name]), high: difference + Math.hypot(twoHigh - two[name], one[name] - oneLow) };
  }

  function digits(value) {
    if (value === 0) return "0";
    return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : value.toPrecision(4);
  }

  const signed = (value) => (value > 0 ? "+" : "") + digits(value).replace("-", "−");

  function value(row, name) {
    const [, unit, factor] = MEASURED[name];
    if (row[name] === null) return "–";
    const low = row[name + "_low"], high = row[name + "_high"];
    const half = low == null || high == null ? "" : ` ± ${((factor * (high - low)) / 2).toPrecision(2)}`;
    return `${digits(row[name] * factor)}${half} ${unit}`;
  }

  // [text, how it was got]
  function delta(first, other, name) {
    const [, unit, factor] = MEASURED[name];
    if (first.row[name] === null || other.row[name] === null) return ["–", ""];
    const points = name === "quality" ? "points" : unit;
    const pair = name === "quality" && other.full ? other.full.pairs[first.key] : undefined;
    if (pair) {
      return [`${signed(100 * pair.difference)} points, ${signed(100 * pair.low)} to ${signed(100 * pair.high)}, ${pair.verdict}`,
        `on the same ${pair.n.toLocaleString("en")} images, ${pair.test} p = ${pair.p_value.toPrecision(2)}; not corrected for other pairs`];
    }
    const found = independent(first.row, other.row, name);
    const exact = ["file_size", "macs", "parameters"].includes(name);
    if (!found) return [`${signed(factor * (other.row[name] - first.row[name]))} ${points}`, exact ? "" : "no interval"];
    return [`${signed(factor * found.difference)} ${points}, ${signed(factor * found.low)} to ${signed(factor * found.high)}`,
      "as of independent numbers: not measured side by side"];
  }

  // Document

  function cells(texts) {
    return texts.map((text) => make("td", { class: "num" }, text));
  }

  function table(name, heads, rows) {
    return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name },
      make("table", { class: "plain sides" }, make("thead", {}, make("tr", {}, make("td", {}), ...heads)), make("tbody", {}, ...rows)));
  }

  function banner(guards, runs) {
    const lines = guards.flatMap(({ differences }, at) => differences.map((each) => `${runs[at + 1].row.recipe}: ${each.words}: ${each.second}, the first has ${each.first}`));
    const level = guards.some((each) => each.level === "different") ? "different" : guards.some((each) => each.level === "compatible") ? "compatible" : "same";
    if (level === "same") return [level, make("p", { class: "level", "data-level": level }, "Comparable: the same question on the same hardware with the same software.")];
    const said = level === "different"
      ? "These results can’t be compared: they answer different questions. No difference is shown."
      : "Comparable with care: the same question on the same hardware, with other software.";
    return [level, make("section", { class: "banner", "data-level": level, "aria-label": "Comparability" }, make("b", {}, said), make("ul", {}, ...lines.map((line) => make("li", {}, line))))];
  }

  function environments(runs) {
    const flat = runs.map(({ environment }) => ({ ...environment, libraries: undefined, ...(environment || {}).libraries }));
    const names = [...new Set(flat.flatMap(Object.keys))].filter((name) => name !== "libraries").sort();
    return names.map((name) => [name, flat.map((found) => (found[name] === undefined || found[name] === "" ? "–" : String(found[name])))]);
  }

  function draw(runs) {
    const [first, ...rest] = runs;
    const guards = rest.map((other) => guard(first.row, other.row));
    const [level, notice] = banner(guards, runs);
    const compared = level !== "different";
    const heads = runs.map((found) => make("th", { scope: "col", class: "num" }, make("a", { href: "run.html#" + found.key }, found.row.recipe), make("br", {}), make("small", {}, `${found.row.task}, ${found.row.profile}, seed ${found.row.seed}`)));
    const deltas = compared ? rest.map((found) => make("th", { scope: "col", class: "num delta" }, `${found.row.recipe} − ${first.row.recipe}`)) : [];
    const numbers = Object.keys(MEASURED).filter((name) => runs.some(({ row }) => row[name] !== null)).map(function (name) {
      const changes = compared ? rest.map((other) => delta(first, other, name)).map(([text, how]) => make("td", { class: "num delta" }, text, ...(how ? [make("br", {}), make("small", {}, how)] : []))) : [];
      const arrow = MEASURED[name][3] ? " ↓" : " ↑";
      return make("tr", {}, make("th", { scope: "row" }, MEASURED[name][0] + arrow), ...cells(runs.map(({ row }) => value(row, name))), ...changes);
    });
    const told = [...TOLD.map((name) => [name.replaceAll("_", " "), runs.map(({ row }) => (row[name] === null || row[name] === "" ? "–" : String(row[name])))]), ...environments(runs)];
    const line = ([name, texts]) => make("tr", {}, make("th", { scope: "row" }, name), ...cells(texts));
    const differ = told.filter(([, texts]) => new Set(texts).size > 1), alike = told.filter(([, texts]) => new Set(texts).size === 1);
    const fold = make("details", { class: "alike" }, make("summary", {}, `${alike.length} conditions alike`), table("Conditions alike", heads.map((head) => head.cloneNode(true)), alike.map(line)));
    place.replaceChildren(notice, make("h2", {}, "Measured"), table("Measured", [...heads.map((head) => head.cloneNode(true)), ...deltas], numbers),
      make("h2", {}, "What differs"), table("What differs", heads, differ.map(line)), fold);
  }

  async function show(keys) {
    const turn = ++asked;
    const runs = (await Promise.all(keys.map((key) => run(key, known)))).filter(Boolean);
    if (turn !== asked) return;
    const missing = keys.length - runs.length;
    if (runs.length >= 2) draw(runs);
    else place.replaceChildren(make("p", {}, keys.length < 2 ? "Choose two to five runs. " : "Fewer than two of these runs are stored. ", make("a", { href: "explore.html" }, "All runs")));
    if (missing) place.prepend(make("p", { class: "notice" }, `${missing} of the chosen runs ${missing === 1 ? "is" : "are"} not stored.`));
    document.documentElement.dataset.ready = "compare";
  }

  function failed(error) {
    place.replaceChildren(make("p", { role: "alert" }, "The runs could not be read: " + error.message));
  }
  const chosen = { ...kinds.list, read: (raw) => kinds.list.read(raw).filter(isKey).slice(0, MOST) };
  const state = window.paretoboard.state({ sel: chosen }, (found) => show(found.sel).catch(failed));
  show(state.now().sel).catch(failed);
  window.paretoboard.guard = guard;
})();
