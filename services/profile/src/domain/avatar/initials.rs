//! The generated avatar of a user who has uploaded none.

use dm_contracts::validation::MAX_LINE_LENGTH;
use sha2::{Digest as _, Sha256};

/// Background colours. White text on each has a contrast of at least 4.5.
const COLOURS: [&str; 12] = [
    "#8a3b3b", "#8a5a1f", "#6b6220", "#4a6b2a", "#2c6e3f", "#1f6e63", "#1f6a80", "#2f5f9a",
    "#4a52a3", "#6a4a9c", "#86418a", "#8f3d63",
];

/// Returns an SVG image with the initials of a name, on a colour that depends on the user id.
pub(crate) fn initials_svg(user_id: &str, name: &str) -> String {
    let colour = COLOURS[usize::from(Sha256::digest(user_id)[0]) % COLOURS.len()];
    // A text in the path of a request can have any length.
    let name: String = name.chars().take(MAX_LINE_LENGTH).collect();
    let (title, initials) = (escape(&name), escape(&initials(&name)));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 256 256\" width=\"256\" \
         height=\"256\" role=\"img\"><title>{title}</title><rect width=\"256\" height=\"256\" \
         fill=\"{colour}\"/><text x=\"128\" y=\"128\" dy=\".35em\" text-anchor=\"middle\" \
         font-family=\"system-ui,sans-serif\" font-size=\"104\" fill=\"#fff\">{initials}</text></svg>"
    )
}

/// Returns the initials of the first and the last word of a name, or `?` if it has no letter and
/// no digit.
fn initials(name: &str) -> String {
    let mut letters = name
        .split_whitespace()
        .filter_map(|word| word.chars().find(|character| character.is_alphanumeric()));
    let Some(first) = letters.next() else {
        return "?".to_owned();
    };
    let last = letters.next_back();
    std::iter::once(first)
        .chain(last)
        .flat_map(char::to_uppercase)
        .collect()
}

/// Escapes a text for XML. Characters that XML cannot contain are left out.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => {}
            character if character.is_control() => {}
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn initials_are_of_the_first_and_the_last_word() {
        for (name, expected) in [
            ("Jim Halpert", "JH"),
            ("jhalpert", "J"),
            ("Phyllis Lapin-Vance", "PL"),
            ("Robert  Lipton (State Senator)", "RS"),
            ("\"Prison\" mike", "PM"),
            ("zoë ßeta", "ZSS"),
            ("張 偉", "張偉"),
            ("<script>", "S"),
            ("- !", "?"),
            ("", "?"),
        ] {
            assert_eq!(initials(name), expected, "{name:?}");
        }
    }

    #[test]
    fn colour_depends_on_the_user_alone() {
        let image = |user: &str, name: &str| initials_svg(user, name);
        for (user, name, colour) in [
            ("jhalpert", "Jim", "#8a3b3b"),
            ("jhalpert", "Pam", "#8a3b3b"),
            ("dschrute", "Jim", "#6a4a9c"),
        ] {
            let image = image(user, name);
            assert!(image.contains(&format!("fill=\"{colour}\"")), "{image}");
        }
        let images: HashSet<_> = (0..64).map(|n| image(&format!("u{n}"), "Jim")).collect();
        assert_eq!(images.len(), COLOURS.len());
    }

    #[test]
    fn colours_have_enough_contrast_with_white() {
        for colour in COLOURS {
            let channel = |at: usize| {
                let value = u8::from_str_radix(&colour[at..at + 2], 16).unwrap();
                let share = f64::from(value) / 255.0;
                if share <= 0.040_45 {
                    share / 12.92
                } else {
                    ((share + 0.055) / 1.055).powf(2.4)
                }
            };
            let luminance = 0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5);
            let contrast = 1.05 / (luminance + 0.05);
            assert!(contrast >= 4.5, "{colour}: {contrast}");
        }
    }

    /// Names with what XML excludes or gives a meaning.
    const NAMES: &str = "[<>&\"'/a \u{0}\u{7}\u{fffe}é]{0,300}";

    proptest! {
        /// No name adds an element, an attribute or a character that XML cannot contain.
        #[test]
        fn any_name_is_only_text(user in ".{0,20}", name in NAMES) {
            let image = initials_svg(&user, &name);
            let plain = initials_svg(&user, "a");
            prop_assert_eq!(image.matches('<').count(), plain.matches('<').count());
            prop_assert_eq!(image.matches('>').count(), plain.matches('>').count());
            prop_assert_eq!(image.matches('"').count(), plain.matches('"').count());
            let is_excluded = |character: char| character.is_control() || character == '\u{fffe}';
            prop_assert!(!image.contains(is_excluded));
            prop_assert!(image.len() < 4_000);
        }
    }
}
