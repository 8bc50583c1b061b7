// MessagePack, as far as it is needed to show what bytes say.

const MOST = 20_000;

/** The value that these bytes are. Throws if they are none, or more than can be shown. */
export function decode(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  let values = 0;
  const take = (count) => {
    if (at + count > bytes.length) throw new Error("it ends too early");
    at += count;
    return at - count;
  };
  const text = (length) => new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(take(length), at));
  const binary = (length) => `<${length} bytes: ${hexOf(bytes.subarray(take(length), at).subarray(0, 64))}${length > 64 ? "…" : ""}>`;
  const list = (length, depth) => Array.from({ length: bounded(length) }, () => value(depth + 1));
  const map = (length, depth) => {
    const entries = [];
    for (let n = bounded(length); n > 0; n -= 1) {
      const key = value(depth + 1);
      entries.push([typeof key === "string" ? key : JSON.stringify(key), value(depth + 1)]);
    }
    return Object.fromEntries(entries);
  };
  const bounded = (length) => {
    if (length > bytes.length - at) throw new Error("it ends too early");
    return length;
  };
  const whole = (big) => (big >= Number.MIN_SAFE_INTEGER && big <= Number.MAX_SAFE_INTEGER ? Number(big) : `${big}`);
  const extension = (length) => { const kind = view.getInt8(take(1)); return `<extension ${kind}, ${binary(length).slice(1)}`; };
  function value(depth) {
    values += 1;
    if (values > MOST || depth > 64) throw new Error("it holds more than is shown");
    const sign = view.getUint8(take(1));
    if (sign < 0x80) return sign;
    if (sign >= 0xe0) return sign - 0x100;
    if (sign < 0x90) return map(sign & 0x0f, depth);
    if (sign < 0xa0) return list(sign & 0x0f, depth);
    if (sign < 0xc0) return text(sign & 0x1f);
    switch (sign) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: return binary(view.getUint8(take(1)));
      case 0xc5: return binary(view.getUint16(take(2)));
      case 0xc6: return binary(view.getUint32(take(4)));
      case 0xc7: return extension(view.getUint8(take(1)));
      case 0xc8: return extension(view.getUint16(take(2)));
      case 0xc9: return extension(view.getUint32(take(4)));
      case 0xca: return view.getFloat32(take(4));
      case 0xcb: return view.getFloat64(take(8));
      case 0xcc: return view.getUint8(take(1));
      case 0xcd: return view.getUint16(take(2));
      case 0xce: return view.getUint32(take(4));
      case 0xcf: return whole(view.getBigUint64(take(8)));
      case 0xd0: return view.getInt8(take(1));
      case 0xd1: return view.getInt16(take(2));
      case 0xd2: return view.getInt32(take(4));
      case 0xd3: return whole(view.getBigInt64(take(8)));
      case 0xd4: case 0xd5: case 0xd6: case 0xd7: case 0xd8: return extension(1 << (sign - 0xd4));
      case 0xd9: return text(view.getUint8(take(1)));
      case 0xda: return text(view.getUint16(take(2)));
      case 0xdb: return text(view.getUint32(take(4)));
      case 0xdc: return list(view.getUint16(take(2)), depth);
      case 0xdd: return list(view.getUint32(take(4)), depth);
      case 0xde: return map(view.getUint16(take(2)), depth);
      case 0xdf: return map(view.getUint32(take(4)), depth);
      default: throw new Error("a byte means nothing");
    }
  }
  const decoded = value(0);
  if (at < bytes.length) throw new Error("bytes are left over");
  return decoded;
}

const hexOf = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");

/** Bytes as they are read in a hex dump: offset, sixteen of them, what of them is ASCII. */
export function dump(bytes) {
  const lines = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const part = bytes.subarray(at, at + 16);
    const ascii = [...part].map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "·")).join("");
    lines.push(`${at.toString(16).padStart(6, "0")}  ${hexOf(part).padEnd(47)}  ${ascii}`);
  }
  return lines.join("\n");
}
