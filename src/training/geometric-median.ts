/** A geometric median is found when an iteration moves it by less than this share of the points' mean distance from it. */
export const medianTolerance = 1e-6;

const mostIterations = 1000;

/**
 * The point with the smallest sum of distances to the points [rows, columns], in float64: Weiszfeld's iteration from the mean, with the
 * correction of Vardi and Zhang ("The multivariate L1-median and associated data depth", PNAS 2000) where it meets a point: there, with R the sum
 * of unit vectors to the others and eta the number of points at this place,
 *
 *   y <- (1 - eta / |R|) T + eta / |R| y,   T: Weiszfeld's step without those points; y is the median when |R| <= eta
 */
export function geometricMedian(points: Float64Array, columns: number): Float64Array {
  const rows = points.length / columns;
  const median = meanRow(points, columns);
  const pull = new Float64Array(columns); // sum of unit vectors to the points
  for (let iteration = 0; iteration < mostIterations; iteration++) {
    pull.fill(0);
    let inverses = 0, distances = 0, here = 0;
    for (let row = 0; row < rows; row++) {
      const point = points.subarray(row * columns, (row + 1) * columns);
      let squares = 0;
      for (let d = 0; d < columns; d++) squares += (point[d]! - median[d]!) ** 2;
      if (squares === 0) {
        here++;
        continue;
      }
      const inverse = 1 / Math.sqrt(squares);
      inverses += inverse;
      distances += Math.sqrt(squares);
      for (let d = 0; d < columns; d++) pull[d]! += (point[d]! - median[d]!) * inverse;
    }
    const strength = Math.sqrt(pull.reduce((sum, value) => sum + value * value, 0));
    if (!(strength > here)) break;
    const step = (1 - here / strength) / inverses;
    for (let d = 0; d < columns; d++) median[d]! += step * pull[d]!;
    if (step * strength < medianTolerance * (distances / rows)) break;
  }
  return median;
}

/** The mean of rows [rows, columns]. */
export function meanRow(points: Float64Array, columns: number): Float64Array {
  const mean = new Float64Array(columns);
  for (let at = 0; at < points.length; at++) mean[at % columns]! += points[at]!;
  return mean.map((sum) => (sum * columns) / points.length);
}
