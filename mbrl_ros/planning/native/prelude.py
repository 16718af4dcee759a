"""What the programs call beside C's mathematics, with torch's ways of treating NaN."""

PRELUDE = """
#include <cmath>
#include <cstring>
using namespace std;
template <class T> static inline T larger(T a, T b) { return a > b || a != a ? a : b; }
template <class T> static inline T smaller(T a, T b) { return a < b || a != a ? a : b; }
template <class T> static inline T sign_of(T a) { return (a > 0) - (a < 0); }
static inline long wrapped(long a, long b) { long r = a % b; return r != 0 && (r < 0) != (b < 0) ? r + b : r; }
static inline double wrapped(double a, double b) {
  double r = fmod(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
static inline long floored(long a, long b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }
static inline double floored(double a, double b) {
  if (b == 0) return a / b;
  double r = fmod(a, b), d = (a - r) / b - (r != 0 && (r < 0) != (b < 0));
  if (d == 0) return copysign(0.0, a / b);
  return floor(d) + (d - floor(d) > 0.5);
}
// torch refuses other rows; here memory must not be left, whatever NaN became.
static inline long inside(long i, long n) { if (i < 0) i += n; return i < 0 ? 0 : i < n ? i : n - 1; }
// Eigenvalues and vectors (columns) of a symmetric matrix, which is used up, by Jacobi's rotations.
template <int N> static void eigen(double (&a)[N][N], double (&v)[N][N]) {
  for (int i = 0; i < N; ++i) for (int j = 0; j < N; ++j) v[i][j] = i == j;
  for (int sweep = 0; sweep < 50; ++sweep) {
    double off = 0, all = 0;
    for (int i = 0; i < N; ++i) for (int j = 0; j < N; ++j) {
      all += a[i][j] * a[i][j];
      if (i != j) off += a[i][j] * a[i][j];
    }
    if (!(off > 1e-30 * all)) break;
    for (int p = 0; p < N; ++p) for (int q = p + 1; q < N; ++q) {
      if (a[p][q] * a[p][q] <= 1e-34 * all) continue;
      double theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
      double t = (theta < 0 ? -1 : 1) / (fabs(theta) + sqrt(theta * theta + 1));
      double c = 1 / sqrt(t * t + 1), s = t * c;
      for (int k = 0; k < N; ++k) {
        double x = a[k][p], y = a[k][q];
        a[k][p] = c * x - s * y; a[k][q] = s * x + c * y;
      }
      for (int k = 0; k < N; ++k) {
        double x = a[p][k], y = a[q][k];
        a[p][k] = c * x - s * y; a[q][k] = s * x + c * y;
        x = v[k][p]; y = v[k][q];
        v[k][p] = c * x - s * y; v[k][q] = s * x + c * y;
      }
    }
  }
}
"""
