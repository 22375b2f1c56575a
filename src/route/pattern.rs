//! Path patterns, in the language of Core's own router (`matchit`).

use std::fmt;

/// Longest pattern, in bytes.
const LONGEST: usize = 1024;

/// `/api/credential/v1/{id}`, `/ssi/{*rest}`: canonical, so that it is matched against the
/// canonical path of a request byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathPattern(String);

impl PathPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence that begins with the pattern.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("is longer than {LONGEST} bytes"));
        }
        if !text.starts_with('/') {
            return Err("must begin with `/`".into());
        }
        if let Some(c) = text.chars().find(|&c| !is_literal(c) && !"/{}*".contains(c)) {
            return Err(match c {
                '%' => "must be written without percent-encoding".into(),
                '?' | '#' => "must be a path alone, without query or fragment".into(),
                c => format!("has a character that no path has: {c:?}"),
            });
        }
        if text.contains("{{") || text.contains("}}") {
            return Err("must not hold braces other than around a parameter".into());
        }
        let mut segments = text.split('/').skip(1).peekable();
        while let Some(segment) = segments.next() {
            if matches!(segment, "." | "..") {
                return Err(format!("has the segment `{segment}`, which no canonical path has"));
            }
            if segment.is_empty() && segments.peek().is_some() {
                return Err("has an empty segment (`//`)".into());
            }
        }
        let pattern = Self(text.to_owned());
        let mut names: Vec<_> = pattern.parameters().collect();
        if let Some(name) = names.iter().find(|name| !is_parameter(name)) {
            return Err(format!("has the parameter `{name}`; use letters, digits and `_`"));
        }
        names.sort_unstable();
        if names.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err("names two parameters alike".into());
        }
        let outside = pattern.parts().any(|(literal, _)| literal.contains(['{', '}', '*']));
        if outside {
            return Err("has a brace or `*` outside of a parameter such as {id} or {*rest}".into());
        }
        match matchit::Router::new().insert(text, ()) {
            Ok(()) => Ok(pattern),
            Err(error) => Err(format!("is no pattern: {error}")),
        }
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names of its parameters, in order; that of `{*rest}` is `rest`.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.parts().filter_map(|(_, parameter)| Some(parameter?.trim_start_matches('*')))
    }

    /// The pattern with numbers for names, and `{*rest}` for every catch-all: two patterns of one
    /// shape match the same paths. A pattern itself, for the router.
    #[must_use]
    pub fn shape(&self) -> String {
        let mut number = 0_u32;
        self.with_each(|parameter, shape| {
            if parameter.starts_with('*') {
                shape.push_str("{*rest}");
            } else {
                shape.extend(["{", &number.to_string(), "}"]);
                number += 1;
            }
        })
    }

    /// A path that it matches, with this value for each parameter.
    #[must_use]
    pub fn path_with(&self, value: &str) -> String {
        self.with_each(|_, path| path.push_str(value))
    }

    /// Whether it ends in a catch-all.
    #[must_use]
    pub fn is_wide(&self) -> bool {
        self.parts().any(|(_, parameter)| parameter.is_some_and(|name| name.starts_with('*')))
    }

    /// The literal runs, with what `write` puts in the place of each parameter.
    fn with_each(&self, mut write: impl FnMut(&str, &mut String)) -> String {
        let mut text = String::with_capacity(self.0.len() + 40);
        for (literal, parameter) in self.parts() {
            text.push_str(literal);
            if let Some(parameter) = parameter {
                write(parameter, &mut text);
            }
        }
        text
    }

    /// Each literal run with the parameter after it.
    fn parts(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.split_inclusive('}').map(|run| {
            match run.strip_suffix('}').and_then(|run| run.split_once('{')) {
                Some((literal, parameter)) => (literal, Some(parameter)),
                None => (run, None),
            }
        })
    }
}

/// RFC 3986, section 3.3: `pchar` without percent-encoding; `*` is only for `{*rest}`.
fn is_literal(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~!$&'()+,;=:@".contains(c)
}

fn is_parameter(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
