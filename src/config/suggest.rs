//! The nearest known word to a misspelt one.

/// `; did you mean …?` with the nearest of `known`, else the list of them.
pub(crate) fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    if let Some(near) = nearest(word, &known) {
        return format!("; did you mean `{near}`?");
    }
    if known.is_empty() {
        return "; there is none".to_owned();
    }
    let shown = known.iter().take(30).copied().collect::<Vec<_>>().join(", ");
    let more = if known.len() > 30 { ", …" } else { "" };
    format!("; known: {shown}{more}")
}

/// What the operator wrote, short and on one line.
pub(crate) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// The word that was probably meant.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    // A word longer than any of ours is no slip of the fingers, and would cost time to compare.
    if word.len() > 100 {
        return None;
    }
    let plain = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let word = plain(word);
    let (distance, near) =
        known.iter().map(|&other| (distance(&word, &plain(other)), other)).min()?;
    (distance <= (word.chars().count() / 3).clamp(1, 4)).then_some(near)
}

/// Insertions, deletions, replacements and swaps of neighbours between two words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    let mut last = None;
    for (i, x) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, &y) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX - 1);
            let replaced = at(&row, j) + usize::from(x != y);
            let mut best = replaced.min(at(&row, j + 1) + 1).min(at(&next, j) + 1);
            let swapped = j > 0 && last == Some(y) && b.get(j - 1) == Some(&x);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
        last = Some(x);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("abc", "", 3),
            ("", "abc", 3),
            ("upstram", "upstream", 1),
            ("pulbic", "public", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn suggests_only_what_is_near() {
        let known = ["listeners", "limits", "public_url"];
        assert_eq!(hint("listener", known), "; did you mean `listeners`?");
        assert_eq!(hint("public-URL", known), "; did you mean `public_url`?");
        assert_eq!(hint("colour", known), "; known: listeners, limits, public_url");
        assert_eq!(hint("x", []), "; there is none");
    }

    #[test]
    fn quotes_on_one_line() {
        assert_eq!(quoted("a\nb"), "`a\\nb`");
        assert_eq!(quoted(&"x".repeat(61)), format!("`{}…`", "x".repeat(60)));
    }
}
