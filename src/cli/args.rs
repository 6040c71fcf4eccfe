//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::filter::Targets;

use super::author::AuthorCommand;
use super::failure::Failure;
use super::forecast::PlanArgs;
use super::replay::ReplayArgs;
use super::simulate::SimulateArgs;
use crate::admin::json::{Prose, Reason};
use crate::core::model::{
    AlarmName, AlarmState, GateName, Revision, RolloutId, ServiceName, Span, StrategyName,
    TargetGroupName, TargetName, Weight,
};

/// A reverse proxy that releases software.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, arg_required_else_help = true)]
pub(super) struct Cli {
    /// Where the admin API listens.
    #[arg(long, global = true, value_name = "URL", default_value = "http://127.0.0.1:7070")]
    pub(super) admin: String,
    /// The file with the token; without it `./admin.token`, which `serve` makes.
    #[arg(long, global = true, value_name = "FILE", env = "TIDEGATE_TOKEN_FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// Write one JSON object on each line.
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// When to use colours.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub(super) color: Color,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// On terminals.
    Auto,
    /// In any case.
    Always,
    /// Never.
    Never,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the proxy.
    Serve(ServeArgs),
    /// Start a new process that takes over from the running one without losing a request.
    Upgrade(UpgradeArgs),
    /// Show a rollout that goes wrong and takes itself back, with made-up services.
    Demo,
    /// Check a configuration file.
    Check(CheckArgs),
    /// Try a rollout on a virtual clock: what would happen, and when it would be caught.
    Simulate(Box<SimulateArgs>),
    /// Say what a rollout could detect at a service's traffic.
    Plan(Box<PlanArgs>),
    /// Run a rollout's comparison again from its evidence, also by another policy.
    Replay(Box<ReplayArgs>),
    /// Compile the gate on the standard input, within limits; `serve` starts it by itself.
    #[command(hide = true)]
    CompileGate {
        /// Where the native code goes.
        folder: PathBuf,
        /// The limits.
        limits: String,
    },
    #[command(flatten)]
    Ask(Ask),
}

/// A command that the admin API answers.
#[derive(Debug, Subcommand)]
pub(super) enum Ask {
    /// Show all services and active rollouts.
    Status,
    /// Look at services, and move traffic by hand.
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Register a target group's targets.
    #[command(subcommand)]
    TargetGroup(TargetGroupCommand),
    /// Start and follow rollouts.
    #[command(subcommand)]
    Rollout(RolloutCommand),
    /// Look at alarms, and push their state.
    #[command(subcommand)]
    Alarm(AlarmCommand),
    /// Look at gates, upload them, and write them.
    #[command(subcommand)]
    Gate(GateCommand),
    /// Read the ledger.
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Read the configuration file again.
    Reload(Why),
    /// Say which side a key gets, and why.
    Explain(ExplainArgs),
}

/// What `check` is given.
#[derive(Clone, Debug, Args)]
pub(super) struct CheckArgs {
    /// The file.
    pub(super) file: PathBuf,
    /// Do not try the addresses of listeners and of the admin API: the file is for another machine.
    #[arg(long)]
    pub(super) no_bind: bool,
}

/// What `serve` is given.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Take over from the process that runs with the same store; without one, start as usual.
    #[arg(long)]
    pub takeover: bool,
    /// What is logged, by the part of the program, in front of what is by default: `debug`,
    /// `tidegate::probe=trace,info`.
    #[arg(long, value_name = "FILTER", env = "TIDEGATE_LOG")]
    pub log: Option<Targets>,
}

/// What `upgrade` is given.
#[derive(Clone, Debug, Args)]
pub struct UpgradeArgs {
    /// The configuration file that the new process serves.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// What to start; without it this binary.
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
    /// How long the new process may take until it serves.
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub timeout: Span,
}

/// Whose side is explained.
#[derive(Clone, Debug, Args)]
pub(super) struct ExplainArgs {
    pub(super) service: ServiceName,
    /// The value of the header or cookie that is the key.
    #[arg(long, value_name = "TEXT", required_unless_present = "address")]
    pub(super) key: Option<String>,
    /// The client's address, where the service takes it for the key.
    #[arg(long, value_name = "IP", conflicts_with = "key")]
    pub(super) address: Option<IpAddr>,
    /// A rollout, active or over; without it, what is in force now.
    #[arg(long, value_name = "ID")]
    pub(super) rollout: Option<RolloutId>,
}

/// A reason.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Why {
    /// Why, for the ledger.
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum ServiceCommand {
    /// List all services.
    List,
    /// Show a service with its targets.
    Show { service: ServiceName },
    /// Set green's weight by hand.
    Split {
        service: ServiceName,
        /// In percent, for example `10%`.
        weight: Weight,
        #[command(flatten)]
        why: Why,
    },
    /// Make green, which has all the traffic, blue.
    Swap {
        service: ServiceName,
        #[command(flatten)]
        why: Why,
    },
    /// Go back to what was blue before.
    Revert {
        service: ServiceName,
        #[command(flatten)]
        why: Why,
    },
    /// Register green's targets.
    Targets {
        service: ServiceName,
        /// All its targets, `host:port` or `srv:NAME` each.
        #[arg(value_name = "ADDR", required = true)]
        targets: Vec<TargetName>,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum TargetGroupCommand {
    /// Register the targets of a group.
    Set {
        group: TargetGroupName,
        /// All its targets, `host:port` or `srv:NAME` each.
        #[arg(value_name = "ADDR", required = true)]
        targets: Vec<TargetName>,
        #[command(flatten)]
        why: Why,
    },
    /// Give a group back to the configuration file.
    Reset {
        group: TargetGroupName,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum RolloutCommand {
    /// Start a rollout.
    Start(Box<StartArgs>),
    /// List rollouts, the newest first.
    List {
        /// Only those of this service.
        #[arg(long)]
        service: Option<ServiceName>,
        /// The most to list.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Show a rollout with its history.
    Show { id: RolloutId },
    /// Tell in plain words what speaks for and against a rollout, and why it goes on or does not.
    Explain { id: RolloutId },
    /// Follow a rollout to its end.
    Watch {
        id: RolloutId,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Say yes to the approval it waits for.
    Approve(Told),
    /// Say no.
    Reject(Told),
    /// Stop the step's clock.
    Pause(Told),
    /// Let the clock run again.
    Resume {
        #[command(flatten)]
        told: Told,
        /// Also past a regression; needs a reason.
        #[arg(long = "override", requires = "reason")]
        override_regression: bool,
    },
    /// Go to 100% at once.
    Promote {
        #[command(flatten)]
        told: Told,
        /// Even against what speaks against it; needs a reason.
        #[arg(long, requires = "reason")]
        force: bool,
    },
    /// End it where it is.
    Stop(Told),
    /// Take the traffic back now.
    Abort(Told),
}

/// Which rollout is told something, and why.
#[derive(Clone, Debug, Args)]
pub(super) struct Told {
    pub(super) id: RolloutId,
    #[command(flatten)]
    pub(super) why: Why,
}

#[derive(Clone, Debug, Args)]
pub(super) struct StartArgs {
    pub(super) service: ServiceName,
    /// What green runs.
    #[arg(long)]
    pub(super) revision: Revision,
    /// A target of green; without any, those that are registered.
    #[arg(long = "target", value_name = "ADDR")]
    pub(super) targets: Vec<TargetName>,
    /// The strategy; without it the service's.
    #[arg(long)]
    pub(super) strategy: Option<StrategyName>,
    /// What it is about.
    #[arg(long, value_name = "TEXT")]
    pub(super) description: Option<String>,
    /// An alarm that shall not judge it.
    #[arg(long = "ignore-alarm", value_name = "ALARM")]
    pub(super) ignore_alarms: Vec<AlarmName>,
    /// An alarm that shall judge it instead of those of the service.
    #[arg(long = "alarm", value_name = "ALARM")]
    pub(super) alarms: Vec<AlarmName>,
    /// No alarm shall judge it.
    #[arg(long, conflicts_with_all = ["alarms", "ignore_alarms"])]
    pub(super) no_alarms: bool,
    /// Makes a repetition give the first answer again.
    #[arg(long, value_name = "KEY")]
    pub(super) idempotency_key: Option<String>,
    /// Follow it to its end.
    #[arg(long)]
    pub(super) wait: bool,
    #[command(flatten)]
    pub(super) waiting: WaitArgs,
    #[command(flatten)]
    pub(super) why: Why,
}

/// How a rollout is followed.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(super) struct WaitArgs {
    /// How long to wait; without it, to the end.
    #[arg(long, value_name = "DURATION")]
    pub(super) timeout: Option<Span>,
    /// Abort the rollout on Ctrl-C.
    #[arg(long)]
    pub(super) abort_on_interrupt: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum AlarmCommand {
    /// List all alarms.
    List,
    /// Push an alarm's state.
    Push {
        alarm: AlarmName,
        /// OK, ALARM or INSUFFICIENT_DATA.
        #[arg(value_parser = alarm_state)]
        state: AlarmState,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum GateCommand {
    #[command(flatten)]
    Author(AuthorCommand),
    /// List all gates.
    List,
    /// Show a gate with what was uploaded for it.
    Show { gate: GateName },
    /// Upload a gate's component, for the rollouts that start from now on.
    Push {
        gate: GateName,
        /// The component.
        file: PathBuf,
        /// The file with its signature by Ed25519: 64 bytes.
        #[arg(long, value_name = "FILE")]
        signature: Option<PathBuf>,
        #[command(flatten)]
        why: Why,
    },
    /// Remove what was uploaded for a gate that nothing asks.
    Rm {
        gate: GateName,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum LedgerCommand {
    /// List entries, the newest first.
    List {
        /// Only what is about this service.
        #[arg(long)]
        service: Option<ServiceName>,
        /// Only what is about this rollout.
        #[arg(long)]
        rollout: Option<RolloutId>,
        /// The most to list.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Check that nothing was changed, dropped or inserted.
    Verify {
        /// The database of a process that does not run; without it a running one is asked.
        #[arg(long, value_name = "FILE")]
        store: Option<PathBuf>,
    },
}

fn alarm_state(text: &str) -> Result<AlarmState, String> {
    [AlarmState::Ok, AlarmState::Alarm, AlarmState::InsufficientData]
        .into_iter()
        .find(|state| state.as_str() == text)
        .ok_or_else(|| "wanted OK, ALARM or INSUFFICIENT_DATA".to_owned())
}

impl Why {
    /// The body of a request that says nothing else.
    pub(super) fn body(self) -> Result<Reason, Failure> {
        Ok(Reason { reason: self.prose()? })
    }

    /// The reason as the API takes it.
    pub(super) fn prose(self) -> Result<Option<Prose>, Failure> {
        prose(self.reason)
    }
}

/// Words as the API takes them.
pub(super) fn prose(words: Option<String>) -> Result<Option<Prose>, Failure> {
    let taken = words.map(Prose::try_from).transpose();
    taken.map_err(|error| Failure::Usage(error.to_string(), None))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Cli, String> {
        Cli::try_parse_from(line.split(' ')).map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_is_understood() {
        for line in [
            "tidegate serve --config t.yaml",
            "tidegate serve --config t.yaml --takeover",
            "tidegate upgrade --config t.yaml --binary ./tidegate --timeout 90s",
            "tidegate demo --json",
            "tidegate check t.yaml",
            "tidegate simulate --config t.yaml --service shop --strategy careful --traffic 200rps \
             --green-errors 1% --blue-errors 0.1% --green-latency +50% --latency 50ms \
             --starts-after 60s --seed 7 --runs 1000 --json",
            "tidegate plan --config t.yaml --service shop --traffic 0.5rps",
            "tidegate plan --config t.yaml",
            "tidegate status --admin http://127.0.0.1:1 --token-file t --color never",
            "tidegate service list",
            "tidegate service show shop",
            "tidegate service split shop 10.25% --reason why",
            "tidegate service swap shop",
            "tidegate service revert shop",
            "tidegate service targets shop 127.0.0.1:1 127.0.0.1:2",
            "tidegate target-group set shop-b 127.0.0.1:1",
            "tidegate target-group reset shop-b",
            "tidegate rollout start shop --revision v2 --target 127.0.0.1:1 --target 127.0.0.1:2 \
             --strategy careful --description x --ignore-alarm a --idempotency-key k --wait \
             --timeout 30m --abort-on-interrupt",
            "tidegate rollout list --service shop --limit 5",
            "tidegate rollout show d-ABCDEFGHI",
            "tidegate rollout watch d-ABCDEFGHI --timeout 5m",
            "tidegate rollout resume d-ABCDEFGHI --override --reason known",
            "tidegate rollout promote d-ABCDEFGHI --force --reason now",
            "tidegate rollout abort d-ABCDEFGHI",
            "tidegate alarm push errors INSUFFICIENT_DATA --reason x",
            "tidegate gate show budget",
            "tidegate gate push budget gate.wasm --signature gate.sig --reason x",
            "tidegate gate rm budget",
            "tidegate gate new --lang rust budget --clock --http",
            "tidegate gate build",
            "tidegate gate build budget",
            "tidegate gate test budget.wasm --cases cases.yaml --json",
            "tidegate gate test new.wasm --rollout d-ABCDEFGHI --gate budget --json",
            "tidegate ledger verify",
            "tidegate reload",
            "tidegate explain shop --key u1 --rollout d-ABCDEFGHI --json",
            "tidegate explain shop --address 192.0.2.1",
        ] {
            assert!(parse(line).is_ok(), "{line}: {:?}", parse(line));
        }
    }

    #[test]
    fn mistakes_are_told_in_the_words_of_the_types() {
        let check = |line: &str, expected: &str| {
            let error = parse(line).expect_err("a mistake");
            assert!(error.contains(expected), "{error}");
        };
        check("tidegate service split shop 10", "a weight is written in percent");
        check("tidegate service targets shop web", "is not a target");
        check("tidegate rollout show 17", "a rollout id is");
        check("tidegate rollout watch d-ABCDEFGHI --timeout 5", "has no unit");
        check("tidegate rollout promote d-ABCDEFGHI --force", "--reason");
        check("tidegate alarm push errors alarm", "wanted OK, ALARM or INSUFFICIENT_DATA");
        check("tidegate gate new --lang rust Budget", "is no name for a gate");
        check("tidegate gate new --lang cobol budget", "possible values: rust, js, python, c");
        check("tidegate gate test a.wasm", "--cases <FILE>");
        check("tidegate gate test a.wasm --cases c --rollout d-ABCDEFGHI", "cannot be used with");
        check("tidegate gate test a.wasm --cases c --gate b", "cannot be used with");
        check("tidegate rollout list --token tg_1", "unexpected argument");
        check("tidegate plan --config t.yaml --traffic 200", "is not traffic");
        let simulate = |rest: &str| format!("tidegate simulate --config t --traffic 1rps {rest}");
        check(&simulate("--runs 0"), "0 is not in 1..=100000");
        check(&simulate("--green-errors 1"), "is not a share");
        check(&simulate("--green-latency 50%"), "is not an increase");
        check("tidegate explain shop", "--key <TEXT>");
        check("tidegate explain shop --key a --address 192.0.2.1", "cannot be used with");
    }
}
