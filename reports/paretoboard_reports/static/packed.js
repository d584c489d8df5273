// What Python packed (packing.py), unpacked again: parts of gzip in base64, handed over by classic scripts, because
// fetch, modules and workers are refused at file://.
(function () {
  "use strict";
  const parts = new Map();
  const SCALARS = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f4: Float32Array, f8: Float64Array };

  function part(name, text) {
    if (!parts.has(name)) parts.set(name, []);
    parts.get(name).push(text);
  }

  function has(name) {
    return parts.has(name);
  }

  function decoded(text) {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
    const raw = atob(text);
    const bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    return bytes;
  }

  // The bytes behind a name; its texts are let go, so that they are not held twice.
  async function bytes(name) {
    // A part may end within a group of four letters only if parts are not cut at a multiple of four: ours are.
    const chunks = (parts.get(name) || []).map(decoded);
    parts.delete(name);
    const stream = new Blob(chunks).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).arrayBuffer();
  }

  async function values(name) {
    return JSON.parse(new TextDecoder().decode(await bytes(name)));
  }

  // {rows, columns: Map of name -> {label, unit, kind, data, words, width}}; data is a view, nothing is copied.
  async function table(name) {
    const buffer = await bytes(name);
    const size = new DataView(buffer).getUint32(0, true);
    const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
    const columns = new Map();
    for (const column of head.columns) {
      const count = head.rows * (column.width || 1);
      const data = new SCALARS[column.type](buffer, 4 + size + column.offset, count);
      columns.set(column.name, { ...column, data: data });
    }
    return { rows: head.rows, columns: columns };
  }

  function hex(column, row) {
    let text = "";
    for (let i = row * column.width; i < (row + 1) * column.width; i++) text += column.data[i].toString(16).padStart(2, "0");
    return text;
  }

  window.paretoboard = { part: part, has: has, table: table, values: values, hex: hex };
})();
