//! Suggestions for misspelled names ("did you mean").

/// Returns the candidate that is most similar to `name`, if one is similar enough.
/// Dashes, underscores and case are ignored, and about one letter in three may
/// be wrong, missing or swapped.
#[must_use]
pub fn closest_match<'a, S: AsRef<str> + ?Sized + 'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a S>,
) -> Option<&'a str> {
    let name = normalize(name);
    candidates
        .into_iter()
        .map(AsRef::as_ref)
        .filter_map(|candidate| {
            let other = normalize(candidate);
            let distance = strsim::damerau_levenshtein(&name, &other);
            let allowed = name.chars().count().min(other.chars().count()).div_ceil(3);
            (distance <= allowed).then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn normalize(name: &str) -> String {
    name.chars()
        .filter(|c| !matches!(c, '_' | '-'))
        .flat_map(char::to_lowercase)
        .collect()
}

/// Joins the candidates for a sentence: `a`, `b` or `c`.
#[must_use]
pub fn join_with_or(candidates: &[&str]) -> String {
    let quoted: Vec<String> = candidates.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEYS: [&str; 4] = ["port", "management_port", "password", "wait_timeout"];

    #[test]
    fn closest_match_corrects_typing_errors() {
        for (wrong, right) in [
            ("prot", "port"),
            ("Port", "port"),
            ("managementPort", "management_port"),
            ("management-port", "management_port"),
            ("passwd", "password"),
            ("wait_timout", "wait_timeout"),
        ] {
            assert_eq!(closest_match(wrong, &KEYS), Some(right), "{wrong}");
        }
    }

    #[test]
    fn closest_match_ignores_dissimilar_names() {
        assert_eq!(closest_match("colour", &KEYS), None);
        assert_eq!(closest_match("x", &KEYS), None);
    }

    #[test]
    fn join_with_or_separates_choices_by_commas_and_or() {
        assert_eq!(join_with_or(&["a"]), "`a`");
        assert_eq!(join_with_or(&["a", "b", "c"]), "`a`, `b` or `c`");
    }

    proptest! {
        #[test]
        fn closest_match_of_a_candidate_is_itself(index in 0..KEYS.len()) {
            prop_assert_eq!(closest_match(KEYS[index], &KEYS), Some(KEYS[index]));
        }
    }
}
