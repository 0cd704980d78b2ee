/** A label map as polygons of VIA: each area of a class by its outline, the larger ones first. */

import "./libraries/d3-array.min.js";
import "./libraries/d3-contour.min.js";
import "./libraries/simplify.js";

const TOLERANCE = 1; // pixels that a corner may lie away from the outline that leaves it out
const CENTRE = 0.999; // a contour at this height goes through the outermost pixels' centres

/**
 * VIA has no holes: what lies in a hole is drawn after what surrounds it, the background too, which
 * is left out elsewhere. Dots and lines one pixel wide are no polygons.
 *
 * @param {Uint8Array} classes h * w class ids
 * @param {number[]} size [h, w]
 * @returns {object[]} regions of VIA, in the order of drawing; `Name` is the class id
 */
export function viaRegions(classes, [h, w]) {
  const rings = [];
  for (const id of new Set(classes)) {
    const own = Float32Array.from(classes, (other) => other === id);
    for (const [outer] of d3.contours().size([w, h]).contour(own, CENTRE).coordinates) {
      const corners = outer.map(([x, y]) => ({ x: inside(x, w), y: inside(y, h) }));
      if (id === 0 && corners.some(({ x, y }) => !x || !y || x === w - 1 || y === h - 1)) continue;
      const ring = simplify(corners, TOLERANCE, true).slice(0, -1); // it ends where it begins
      if (ring.length > 2) rings.push({ id, ring, area: areaOf(corners) });
    }
  }
  rings.sort((one, other) => other.area - one.area);
  return rings.map(({ id, ring }) => ({
    shape_attributes: {
      name: "polygon",
      all_points_x: ring.map(({ x }) => x),
      all_points_y: ring.map(({ y }) => y),
    },
    region_attributes: { Name: String(id) },
  }));
}

/** From d3's corners of pixels to centres of pixels, within the picture. */
const inside = (value, size) => Math.min(Math.max(Math.round(value - 0.5), 0), size - 1);

const areaOf = (ring) => Math.abs(ring.reduce((sum, { x, y }, index) => {
  const next = ring[(index + 1) % ring.length];
  return sum + x * next.y - y * next.x;
}, 0));
