//! Runs a group of vectors, and judges each by what client and target have seen.

use std::net::SocketAddr;

use crate::case::{Case, Expected, Must, Then, groups};
use crate::client::{Answer, Heard, Pace, ask, talk};
use crate::kit::{Ports, Tidegate};
use crate::message::Request;
use crate::target::{Seen, Target};

/// Runs every vector of a group in one write, and the small ones byte by byte as well; fails with
/// all that went wrong.
pub(crate) async fn check(group: &str) {
    let cases = groups().remove(group).expect("the group is there");
    let target = Target::start().await;
    let address = target.address();
    let tidegate = Tidegate::start(|ports| config(ports, address)).await;
    let mut number = 0;
    let mut wrong = Vec::new();
    for case in &cases {
        for pace in [Pace::Whole, Pace::Bytewise] {
            if pace == Pace::Bytewise && case.bytes().len() > SMALL {
                continue;
            }
            number += 1;
            if let Err(fault) = run(tidegate.public(), &target, case, pace, number).await {
                wrong.push(format!("{} ({pace:?}): {fault}\n    {}", case.name, case.rule));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{} of {number} went wrong:\n{}\n", wrong.len(), wrong.join("\n"));
}

async fn run(
    address: SocketAddr,
    target: &Target,
    case: &Case,
    pace: Pace,
    number: usize,
) -> Result<(), String> {
    let (again, fresh) = (format!("{PROBE}again/{number}"), format!("{PROBE}fresh/{number}"));
    let heard = talk(address, case, pace, &again).await;
    let next = ask(address, &fresh).await;
    let mut seen = target.take_seen();
    seen.requests.retain(|request| !request.target.starts_with(PROBE));
    if !is_answer_for(&next.answers, &fresh) {
        return Err(format!("the next client got {:?}", next.answers));
    }
    clean(&heard, &seen)?;
    let served = heard.answers.iter().any(|answer| answer.by_target);
    match (case.must, served) {
        (Must::Refuse, _) | (Must::Either, false) => refused(case, &heard, &seen.requests),
        (Must::Accept, _) | (Must::Either, true) => accepted(case, &heard, &seen.requests, &again),
    }
}

/// What holds of every vector.
fn clean(heard: &Heard, seen: &Seen) -> Result<(), String> {
    if let Some(unclean) = seen.unclean.first() {
        return Err(format!("the target got {unclean}"));
    }
    if let Some(request) = seen.requests.iter().find(|request| request.values(MARK).len() != 1) {
        return Err(format!("smuggled past the proxy: {request:?}"));
    }
    if heard.in_vain {
        let Heard { answers, after, .. } = heard;
        return Err(format!(
            "no answer, or no end of the connection, after {answers:?}, {after:?}"
        ));
    }
    if !heard.rest.is_empty() {
        return Err(format!("no answer is {:?}", String::from_utf8_lossy(&heard.rest)));
    }
    Ok(())
}

fn refused(case: &Case, heard: &Heard, seen: &[Request]) -> Result<(), String> {
    if !seen.is_empty() {
        return Err(format!("the target got {seen:?}"));
    }
    match &heard.answers[..] {
        [] => {}
        [answer] if is_refusal(answer) => {
            if !case.status.is_empty() && !case.status.contains(&answer.status) {
                return Err(format!("refused with {}, not {:?}", answer.status, case.status));
            }
        }
        answers => return Err(format!("not refused: {answers:?}")),
    }
    if !heard.closed {
        return Err("the connection is still open".to_owned());
    }
    Ok(())
}

fn accepted(case: &Case, heard: &Heard, seen: &[Request], again: &str) -> Result<(), String> {
    let served = heard.answers.iter().take_while(|answer| answer.by_target).count();
    let refusals = &heard.answers[served..];
    let all = served == case.target.len();
    if served == 0 || served > case.target.len() || (!all && case.must == Must::Accept) {
        return Err(format!("wanted {} answers, not {:?}", case.target.len(), heard.answers));
    }
    if seen.len() != served {
        return Err(format!("{served} answers, but the target got {seen:?}"));
    }
    for (request, expected) in seen.iter().zip(&case.target) {
        same(request, expected)?;
    }
    let may_refuse = !all || case.then == Then::Refuse;
    let refusals_fit = match refusals {
        [] => case.then != Then::Refuse,
        [refusal] => may_refuse && is_refusal(refusal),
        _ => false,
    };
    if !refusals_fit || (!all && !heard.closed) {
        return Err(format!("behind what was served came {refusals:?}"));
    }
    let kept = heard.asked_again && is_answer_for(&heard.after, again);
    let fits = match case.then {
        Then::Any => kept || (heard.closed && heard.after.is_empty()),
        Then::Keep => kept,
        Then::Close | Then::Refuse => heard.closed && !heard.asked_again,
    };
    if fits {
        Ok(())
    } else {
        Err(format!("wanted {:?} afterwards, not {:?}", case.then, heard.after))
    }
}

/// Whether the target was asked for exactly this.
pub(crate) fn same(request: &Request, expected: &Expected) -> Result<(), String> {
    let line = format!("{} {}", request.method, request.target);
    let fields =
        expected.fields.iter().all(|(name, value)| request.values(name) == [value.as_str()]);
    let absent = expected.absent.iter().all(|name| request.values(name).is_empty());
    let body = request.body == expected.body();
    if line == expected.request && fields && absent && body {
        Ok(())
    } else {
        Err(format!("the target got {request:?}, not {expected:?}"))
    }
}

fn is_refusal(answer: &Answer) -> bool {
    let refuses = (400..500).contains(&answer.status) || [501, 505].contains(&answer.status);
    !answer.by_target && refuses
}

fn is_answer_for(answers: &[Answer], path: &str) -> bool {
    matches!(answers, [answer] if answer.by_target && answer.status == 200 && answer.body == path)
}

fn config(ports: &Ports, target: SocketAddr) -> String {
    let Ports { public, admin } = ports;
    format!(
        "\
listeners:
  - {{ name: public, address: '{public}', rules: [{{ service: shop }}] }}
target_groups:
  shop-a: {{ targets: ['{target}'] }}
  shop-b: {{ targets: [] }}
services:
  shop: {{ target_groups: [shop-a, shop-b] }}
admin: {{ address: '{admin}' }}
store: {{ path: tidegate.db }}
"
    )
}

/// Where the paths of the requests begin that only look whether all is well.
pub(crate) const PROBE: &str = "/probe/";
/// A field that the proxy sets on everything that it lets through.
pub(crate) const MARK: &str = "x-forwarded-proto";
/// The most bytes that are sent one by one.
const SMALL: usize = 600;
