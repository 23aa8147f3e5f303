//! Claims whose callers have seen more than the replica that answers.

use super::*;

/// The claim of a caller who has seen this revision, at the first replica.
fn claim(world: &World, seen: u64) -> Pin<Box<dyn Future<Output = Answer>>> {
    let allocator = Arc::clone(&world.replicas[0].allocator);
    let request = ClaimHostRequest {
        seen_revision: seen.to_string(),
        ..request(0, false)
    };
    Box::pin(async move { Box::pin(allocator.claim(&request)).await })
}

/// Lets a call come on until it ends, or waits for the watch.
fn go(call: &mut Pin<Box<dyn Future<Output = Answer>>>) -> Poll<Answer> {
    let mut context = Context::from_waker(Waker::noop());
    let steps = (0..100).map(|_| call.as_mut().poll(&mut context));
    steps.into_iter().find(Poll::is_ready).unwrap_or(Poll::Pending)
}

/// A world whose first replica knows that all hosts are paused.
fn paused() -> World {
    let mut world = World::new(false);
    (0..HOSTS).for_each(|host| world.pause(host, true));
    while world.replicas[0].deliver() {}
    world
}

/// The host that the call gets while the watch comes on.
fn given(world: &mut World, call: &mut Pin<Box<dyn Future<Output = Answer>>>) -> String {
    loop {
        if let Poll::Ready(answer) = go(call) {
            return answer.unwrap().seen.key().name;
        }
        assert!(world.replicas[0].deliver(), "the call waits for nothing");
    }
}

#[test]
fn a_claim_that_finds_nothing_waits_until_the_replica_knows_what_its_caller_has_seen() {
    let mut world = paused();
    world.pause(2, false);
    let seen = world.server.lock().unwrap().log.len();
    let mut call = claim(&world, u64::try_from(seen).unwrap());
    assert!(go(&mut call).is_pending());
    assert_eq!(given(&mut world, &mut call), "h2");
}

#[test]
fn a_claim_waits_for_nothing_that_its_caller_has_seen_where_a_host_is_free() {
    let mut world = World::new(false);
    let mut call = claim(&world, u64::MAX);
    assert!(given(&mut world, &mut call).starts_with('h'));
}

#[test]
fn a_claim_is_answered_by_what_is_known_when_the_watch_does_not_come_to_what_its_caller_has_seen() {
    let world = paused();
    *world.replicas[0].line.stalled.lock().unwrap() = true;
    let Poll::Ready(Err(refused)) = go(&mut claim(&world, u64::MAX)) else {
        panic!("it was not refused")
    };
    assert_eq!(Reason::of(&refused), Some(Reason::NoHostAvailable), "{refused}");
}
