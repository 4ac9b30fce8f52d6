//! Names in Redis: the configured prefix and a [`RecordKey`].

use crate::config::Deployment;
use crate::store::vault::RecordKey;

/// The hash tag for a prefix that cannot be one.
const TAG: &str = "{vtnr-gateway}";

pub(super) struct Names {
    prefix: Vec<u8>,
}

impl Names {
    /// Creates names for this deployment. One change touches many records, and a cluster runs
    /// scripts within one slot only: there the prefix becomes the hash tag of all names, unless it
    /// contains one.
    pub(super) fn new(prefix: &str, deployment: &Deployment) -> Self {
        let prefix = match deployment {
            Deployment::Single | Deployment::Sentinel { .. } => prefix.to_owned(),
            Deployment::Cluster if has_hash_tag(prefix) => prefix.to_owned(),
            Deployment::Cluster if prefix.is_empty() || prefix.starts_with('}') => {
                format!("{TAG}{prefix}")
            }
            Deployment::Cluster => format!("{{{prefix}}}"),
        };
        Self {
            prefix: prefix.into_bytes(),
        }
    }

    pub(super) fn record(&self, key: RecordKey) -> Vec<u8> {
        self.named(&key.to_bytes())
    }

    /// Names the queue of letters, and their numbers of leases.
    pub(super) fn queue(&self) -> [Vec<u8>; 2] {
        [self.named(b"queue"), self.named(b"leases")]
    }

    /// Names a meaningless record that is written to check that Redis accepts writes.
    pub(super) fn ping(&self) -> Vec<u8> {
        self.named(b"ping")
    }

    /// Names the channel of invalidations.
    pub(super) fn channel(&self) -> Vec<u8> {
        self.named(b"ended")
    }

    fn named(&self, rest: &[u8]) -> Vec<u8> {
        [self.prefix.as_slice(), rest].concat()
    }
}

/// Returns whether the prefix contains a hash tag: a non-empty part in braces, which determines the
/// slot.
fn has_hash_tag(prefix: &str) -> bool {
    let tag = prefix
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'));
    tag.is_some_and(|(tag, _)| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_cluster_every_prefix_is_or_has_the_same_hash_tag_for_all_names() {
        let cases = [
            ("vtnr:", "{vtnr:}"),
            ("a:{house}:", "a:{house}:"),
            ("{house}", "{house}"),
            ("", "{vtnr-gateway}"),
            ("{}a", "{{}a}"),
            ("a{b", "{a{b}"),
            ("}a", "{vtnr-gateway}}a"),
            ("a}b{", "{a}b{}"),
        ];
        for (prefix, expected) in cases {
            let names = Names::new(prefix, &Deployment::Cluster);
            assert_eq!(
                String::from_utf8_lossy(&names.prefix),
                expected,
                "{prefix:?}"
            );
            assert!(has_hash_tag(expected), "{prefix:?}");
        }
        assert_eq!(
            Names::new("vtnr:", &Deployment::Single).ping(),
            b"vtnr:ping"
        );
    }
}
