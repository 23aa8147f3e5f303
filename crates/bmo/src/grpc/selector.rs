//! Label selectors as consumers write them.

use std::collections::BTreeSet;

use metal3_rpc::v1::{Host, Selector};

/// One requirement on a label.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Rule {
    In(String, BTreeSet<String>),
    NotIn(String, BTreeSet<String>),
    Exists(String),
    Absent(String),
    Greater(String, i64),
    Less(String, i64),
}

/// A parsed selector; the empty one matches every host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Matcher {
    rules: Vec<Rule>,
}

impl Matcher {
    /// Parses the wire form.
    ///
    /// # Errors
    /// A sentence that names the expression and what is wrong with it.
    pub(super) fn parse(selector: Option<&Selector>) -> Result<Self, String> {
        let Some(selector) = selector else {
            return Ok(Self::default());
        };
        let mut rules: Vec<Rule> = selector
            .match_labels
            .iter()
            .map(|(key, value)| Rule::In(key.clone(), BTreeSet::from([value.clone()])))
            .collect();
        for expression in &selector.expressions {
            let key = expression.key.clone();
            if key.is_empty() {
                return Err("selector expression without a key".into());
            }
            let values: BTreeSet<String> = expression.values.iter().cloned().collect();
            let operator = expression.operator.to_lowercase();
            let number = || match expression.values.as_slice() {
                [one] => one.parse::<i64>().map_err(|_| {
                    format!(
                        "selector expression on {key:?}: operator {operator:?} needs an integer, got {one:?}"
                    )
                }),
                _ => Err(format!(
                    "selector expression on {key:?}: operator {operator:?} needs exactly one value"
                )),
            };
            let rule = match operator.as_str() {
                "in" | "=" | "==" if values.is_empty() => {
                    return Err(format!(
                        "selector expression on {key:?}: operator {operator:?} needs a value"
                    ));
                }
                "notin" | "!=" if values.is_empty() => {
                    return Err(format!(
                        "selector expression on {key:?}: operator {operator:?} needs a value"
                    ));
                }
                "exists" | "!" | "doesnotexist" if !values.is_empty() => {
                    return Err(format!(
                        "selector expression on {key:?}: operator {operator:?} takes no values"
                    ));
                }
                "in" | "=" | "==" => Rule::In(key, values),
                "notin" | "!=" => Rule::NotIn(key, values),
                "exists" => Rule::Exists(key),
                "!" | "doesnotexist" => Rule::Absent(key),
                "gt" => Rule::Greater(key.clone(), number()?),
                "lt" => Rule::Less(key.clone(), number()?),
                other => {
                    return Err(format!(
                        "selector expression on {key:?}: unknown operator {other:?}; known are In, NotIn, Exists, \
                         DoesNotExist, =, !=, gt, lt"
                    ));
                }
            };
            rules.push(rule);
        }
        Ok(Self { rules })
    }

    /// Labels of which a matching host has one of these values, for those who know hosts by label.
    pub(super) fn required(&self) -> impl Iterator<Item = (&String, &BTreeSet<String>)> {
        self.rules.iter().filter_map(|rule| match rule {
            Rule::In(key, values) => Some((key, values)),
            Rule::NotIn(..) | Rule::Exists(_) | Rule::Absent(_) | Rule::Greater(..) | Rule::Less(..) => None,
        })
    }

    /// Whether the host's labels satisfy every rule, with the semantics of Kubernetes' label selectors.
    pub(super) fn matches(&self, host: &Host) -> bool {
        let number = |key: &String| host.labels.get(key).and_then(|value| value.parse::<i64>().ok());
        self.rules.iter().all(|rule| match rule {
            Rule::In(key, values) => host.labels.get(key).is_some_and(|value| values.contains(value)),
            Rule::NotIn(key, values) => host.labels.get(key).is_none_or(|value| !values.contains(value)),
            Rule::Exists(key) => host.labels.contains_key(key),
            Rule::Absent(key) => !host.labels.contains_key(key),
            Rule::Greater(key, bound) => number(key).is_some_and(|value| value > *bound),
            Rule::Less(key, bound) => number(key).is_some_and(|value| value < *bound),
        })
    }
}

#[cfg(test)]
mod tests {
    use metal3_rpc::v1::SelectorExpression;

    use super::*;

    fn matcher(key: &str, operator: &str, values: &[&str]) -> Result<Matcher, String> {
        Matcher::parse(Some(&Selector {
            match_labels: Default::default(),
            expressions: vec![SelectorExpression {
                key: key.into(),
                operator: operator.into(),
                values: values.iter().map(|&v| v.into()).collect(),
            }],
        }))
    }

    #[test]
    fn operators_have_the_meaning_of_kubernetes_selectors() {
        let host = Host {
            labels: [
                ("zone".to_owned(), "a".to_owned()),
                ("cores".to_owned(), "16".to_owned()),
            ]
            .into(),
            ..Default::default()
        };
        for (key, operator, values, expected) in [
            ("zone", "In", &["a", "b"][..], true),
            ("zone", "in", &["b"], false),
            ("zone", "==", &["a"], true),
            ("zone", "NotIn", &["a"], false),
            ("rack", "notin", &["a"], true),
            ("zone", "Exists", &[], true),
            ("rack", "exists", &[], false),
            ("rack", "DoesNotExist", &[], true),
            ("zone", "!", &[], false),
            ("cores", "gt", &["8"], true),
            ("cores", "lt", &["8"], false),
            ("zone", "gt", &["8"], false),
        ] {
            let got = matcher(key, operator, values).unwrap().matches(&host);
            assert_eq!(got, expected, "{key} {operator} {values:?}");
        }
        assert!(Matcher::parse(None).unwrap().matches(&host));
    }

    #[test]
    fn malformed_expressions_say_what_is_wrong() {
        for (key, operator, values, word) in [
            ("", "in", &["a"][..], "without a key"),
            ("k", "in", &[], "needs a value"),
            ("k", "exists", &["a"], "takes no values"),
            ("k", "gt", &["x"], "needs an integer"),
            ("k", "near", &["x"], "unknown operator"),
        ] {
            let error = matcher(key, operator, values).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
