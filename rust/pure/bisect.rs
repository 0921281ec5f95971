// SPDX-License-Identifier: GPL-2.0

//! A limit that can only be found by trying.

/// The largest number up to `most` that `fits`.
///
/// A number fits if a larger one does. Zero is not tried, and is the answer if nothing fits.
pub fn largest(most: usize, fits: impl Fn(usize) -> bool) -> usize {
    if fits(most) {
        return most;
    }
    // The answer lies in `fit..over`.
    let (mut fit, mut over) = (0, most);
    while over.saturating_sub(fit) > 1 {
        let middle = fit.midpoint(over);
        if fits(middle) {
            fit = middle;
        } else {
            over = middle;
        }
    }
    fit
}
