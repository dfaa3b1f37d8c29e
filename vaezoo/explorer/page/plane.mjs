// The geometry of the map: codes z [D], and places [u, v] in the plane (z - origin) · directions.

const dot = (a, b) => a.reduce((sum, each, i) => sum + each * b[i], 0);

/** The place of a code. */
export function project({ origin, directions }, z) {
  const from = Array.from(z, (each, i) => each - origin[i]);
  return directions.map((direction) => dot(from, direction));
}

/** The code that is at another place and differs from z along the plane only. */
export function moved(plane, z, place) {
  const here = project(plane, z);
  return Float32Array.from(z, (each, i) =>
    plane.directions.reduce((sum, direction, k) => sum + (place[k] - here[k]) * direction[i], each),
  );
}

/** The code of the plane itself at a place. */
export function onPlane(plane, place) {
  return moved(plane, plane.origin, place);
}

/** The covariance in the plane, [uu, uv, vv], of q(z|x): scale [D], or scale_tril [D*D]; null without either. */
export function spread({ directions: [first, second] }, { scale, scale_tril: tril }) {
  const size = first.length;
  if (scale) {
    const variance = Array.from(scale, (each) => each * each);
    const sum = (a, b) => variance.reduce((total, each, i) => total + each * a[i] * b[i], 0);
    return [sum(first, first), sum(first, second), sum(second, second)];
  }
  if (!tril) return null;
  const turned = (direction) =>
    Array.from({ length: size }, (_, column) => direction.reduce((sum, d, row) => sum + d * tril[row * size + column], 0));
  const [a, b] = [turned(first), turned(second)];
  return [dot(a, a), dot(a, b), dot(b, b)];
}

/** The ellipse at one standard deviation of a covariance [uu, uv, vv]: half axes, and the angle of the first. */
export function ellipse([uu, uv, vv]) {
  const middle = (uu + vv) / 2;
  const off = Math.hypot((uu - vv) / 2, uv);
  return { major: Math.sqrt(middle + off), minor: Math.sqrt(Math.max(middle - off, 0)), angle: Math.atan2(2 * uv, uu - vv) / 2 };
}

/** The code at a share t of the way from a to b. */
export function between(a, b, t) {
  return Float32Array.from(a, (each, i) => each + t * (b[i] - each));
}

/** The index of the point that is nearest to a place. */
export function nearest(points, [u, v]) {
  let best = 0;
  let least = Infinity;
  points.forEach(([x, y], index) => {
    const distance = (x - u) ** 2 + (y - v) ** 2;
    if (distance < least) [best, least] = [index, distance];
  });
  return best;
}

/** Between places and pixels of a square of `size` pixels; v grows upwards. */
export function screenOf({ centre, half }, size) {
  return {
    pixels: ([u, v]) => [((u - centre[0]) / half + 1) * (size / 2), (1 - (v - centre[1]) / half) * (size / 2)],
    place: (x, y) => [centre[0] + (x / (size / 2) - 1) * half, centre[1] + (1 - y / (size / 2)) * half],
    scale: size / 2 / half,
  };
}
