//! Which of several hosts a consumer keeps: pure.

use super::super::allocate::name;
use super::super::intent::is_used;
use super::super::pool::Holding;

/// What becomes of a claim just made, given the other hosts of the consumer.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict<'a> {
    /// Every other claim came later.
    Stay,
    /// Another came earlier.
    Yield,
    /// Another came earlier if the consumer had one of these hosts when this claim was made.
    Ask(Vec<&'a Holding>),
}

/// Judges a claim made at a revision; the others are all that were there at that revision, and perhaps later ones.
pub(super) fn verdict(revision: u64, others: &[Holding]) -> Verdict<'_> {
    let earlier = |other: &Holding| is_used(&other.host) || other.since.by < revision;
    if others.iter().any(earlier) {
        return Verdict::Yield;
    }
    let unsure: Vec<_> = others
        .iter()
        .filter(|other| other.since.after < revision)
        .collect();
    if unsure.is_empty() {
        Verdict::Stay
    } else {
        Verdict::Ask(unsure)
    }
}

/// What a consumer keeps.
#[derive(Debug, PartialEq)]
pub(super) enum Kept<'a> {
    /// This one; the others are free.
    One(&'a Holding, Vec<&'a Holding>),
    /// More than one is used, and only a user can tell which is to be kept.
    Several(Vec<&'a Holding>),
}

/// Chooses what is kept of all hosts of a consumer: the one that is used, or the one claimed first, or, when that is not
/// known, the one whose name comes first. `None` when there is no host.
pub(super) fn kept(holdings: &[Holding]) -> Option<Kept<'_>> {
    let used: Vec<_> = holdings.iter().filter(|holding| is_used(&holding.host)).collect();
    let one = match used.as_slice() {
        [] => {
            let first = holdings.iter().filter(|holding| {
                let earlier = |other: &Holding| other.since.by <= holding.since.after;
                !holdings.iter().any(earlier)
            });
            first.min_by_key(|holding| name(&holding.host))?
        }
        [one] => one,
        _ => return Some(Kept::Several(used)),
    };
    let rest = holdings
        .iter()
        .filter(|other| name(&other.host) != name(&one.host));
    Some(Kept::One(one, rest.collect()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use metal3_rpc::v1::{Host, HostRef, Image};

    use super::super::super::pool::Since;
    use super::*;

    fn holding(name: &str, after: u64, by: u64) -> Holding {
        let host = Host {
            r#ref: Some(HostRef::named("ns", name)),
            provisioning_state: "available".into(),
            ..Default::default()
        };
        Holding {
            host: Arc::new(host),
            since: Since { after, by },
        }
    }

    fn used(mut holding: Holding) -> Holding {
        Arc::make_mut(&mut holding.host).requested_image = Some(Image::default());
        holding
    }

    fn keeps(holdings: &[Holding]) -> Result<(String, usize), usize> {
        match kept(holdings).unwrap() {
            Kept::One(one, rest) => Ok((name(&one.host).to_owned(), rest.len())),
            Kept::Several(several) => Err(several.len()),
        }
    }

    #[test]
    fn the_earlier_claim_wins() {
        assert_eq!(verdict(10, &[]), Verdict::Stay);
        assert_eq!(verdict(10, &[holding("a", 8, 9)]), Verdict::Yield);
        assert_eq!(verdict(10, &[holding("a", 10, 11)]), Verdict::Stay);
        assert_eq!(
            verdict(10, &[holding("a", 10, 11), holding("b", 0, 3)]),
            Verdict::Yield
        );
    }

    #[test]
    fn a_claim_of_unknown_age_is_asked_about() {
        let unknown = [holding("a", 0, 12), holding("b", 12, 13)];
        assert_eq!(verdict(10, &unknown), Verdict::Ask(vec![&unknown[0]]));
    }

    #[test]
    fn a_host_in_use_is_never_given_up_for_one_that_is_not() {
        assert_eq!(verdict(10, &[used(holding("a", 10, 11))]), Verdict::Yield);
        assert_eq!(
            keeps(&[holding("a", 0, 1), used(holding("b", 4, 5))]),
            Ok(("b".to_owned(), 1))
        );
        assert_eq!(
            keeps(&[used(holding("a", 0, 1)), used(holding("b", 4, 5))]),
            Err(2)
        );
        assert_eq!(kept(&[]), None);
    }

    #[test]
    fn of_unused_hosts_the_one_claimed_first_is_kept_or_the_first_by_name() {
        assert_eq!(
            keeps(&[holding("b", 3, 4), holding("a", 5, 6)]),
            Ok(("b".to_owned(), 1))
        );
        assert_eq!(
            keeps(&[holding("b", 0, 9), holding("a", 0, 8)]),
            Ok(("a".to_owned(), 1))
        );
        let three = [holding("c", 0, 3), holding("a", 5, 6), holding("b", 0, 7)];
        assert_eq!(keeps(&three), Ok(("b".to_owned(), 2)));
    }
}
