//! Which requests count as the Antragsversand.

/// What a request means to do, as far as the policy is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Anything but the Antragsversand.
    Use,
    /// The Antragsversand: needs a confirmed e-mail address.
    Submit,
}

/// The paths of the calculator that send an application electronically.
#[derive(Clone, Debug)]
pub struct SubmissionRules {
    paths: Box<[Box<str>]>,
}

/// Methods that send no application, by RFC 9110, 9.2.1 ("safe").
const SAFE_METHODS: [&str; 3] = ["GET", "HEAD", "OPTIONS"];

impl SubmissionRules {
    /// Rules for these paths; each begins with `/`.
    pub fn new(paths: impl IntoIterator<Item = String>) -> Self {
        Self { paths: paths.into_iter().map(String::into_boxed_str).collect() }
    }

    /// Judges a request by its method and its raw target, both as they will be forwarded.
    pub fn intent(&self, method: &str, target: &str) -> Intent {
        if SAFE_METHODS.contains(&method) {
            return Intent::Use;
        }
        let path = target.split(['?', '#']).next().unwrap_or(target);
        if self.paths.iter().any(|submission| **submission == *path) { Intent::Submit } else { Intent::Use }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_but_the_safe_ones_submits_on_a_submission_path() {
        let rules = SubmissionRules::new(["/antrag/versand".to_owned()]);
        let cases = [
            ("POST", "/antrag/versand", Intent::Submit),
            ("PUT", "/antrag/versand", Intent::Submit),
            ("post", "/antrag/versand", Intent::Submit),
            ("JEFF", "/antrag/versand?x=/public", Intent::Submit),
            ("GET", "/antrag/versand", Intent::Use),
            ("HEAD", "/antrag/versand", Intent::Use),
            ("OPTIONS", "/antrag/versand", Intent::Use),
            ("POST", "/antrag", Intent::Use),
            ("POST", "/tarif?next=/antrag/versand", Intent::Use),
            ("get", "/antrag/versand", Intent::Submit),
        ];
        for (method, target, expected) in cases {
            assert_eq!(rules.intent(method, target), expected, "{method} {target}");
        }
    }
}
