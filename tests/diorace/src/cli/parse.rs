// SPDX-License-Identifier: GPL-2.0
//! Values on the command line.

/// A number of bytes with an optional suffix K, M or G.
pub fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(['k', 'K', 'm', 'M', 'g', 'G']);
    let shift = match &text[digits.len()..] {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        other => return Err(format!("\"{other}\" is no unit; use K, M or G")),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| format!("\"{digits}\" is no number"))?;
    number
        .checked_shl(shift)
        .filter(|bytes| *bytes > 0 && bytes >> shift == number)
        .ok_or_else(|| format!("{text} is not a size that a file can have"))
}

/// A length of time in seconds.
pub fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.001..1e7).contains(&value) => Ok(value),
        _ => Err("not a length of time in seconds, for example 0.5 or 30".to_owned()),
    }
}

/// Of several names the one that was probably meant.
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = names.into_iter().map(|name| {
        let score = strsim::jaro_winkler(&word.to_lowercase(), name);
        (score, name)
    });
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.7).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(bytes("4096"), Ok(4096));
        assert_eq!(bytes("8M"), Ok(8 << 20));
        assert!(bytes("8MM").is_err());
        assert!(bytes("0").is_err());
        assert!(bytes("M").is_err());
        assert!(bytes("99999999999G").is_err());
    }

    #[test]
    fn times() {
        assert_eq!(seconds("0.5"), Ok(0.5));
        for wrong in ["0", "-1", "nan", "inf", "1e9", "soon"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_slip_is_recognised() {
        let names = ["readahead", "false-sharing"];
        assert_eq!(nearest("readahed", names), Some("readahead"));
        assert_eq!(nearest("FalseSharing", names), Some("false-sharing"));
        assert_eq!(nearest("xyz", names), None);
    }
}
