//! Roles: what the owner of a token may do.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What the owner of a token may do. A first start makes a token for an admin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Starts rollouts: a deploy tool.
    Deployer,
    /// Says yes or no.
    Approver,
    /// Does everything about traffic.
    Operator,
    /// Does everything.
    Admin,
    /// Tells alarms, and nothing else: whoever watches.
    Notifier,
}

/// Something that a route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Look.
    Read,
    /// Start rollouts, register targets.
    Deploy,
    /// Take traffic back or keep it from rising: abort, stop, pause.
    Halt,
    /// Approve and reject.
    Approve,
    /// Move traffic by hand and past what stands against it.
    Operate,
    /// Change the configuration.
    Configure,
    /// Tell alarms.
    Notify,
}

impl Role {
    /// Whether the role includes a permission.
    #[must_use]
    pub fn may(self, permission: Permission) -> bool {
        match permission {
            Permission::Read => match self {
                Self::Viewer | Self::Deployer | Self::Approver | Self::Operator | Self::Admin => {
                    true
                }
                Self::Notifier => false,
            },
            Permission::Deploy => match self {
                Self::Deployer | Self::Operator | Self::Admin => true,
                Self::Viewer | Self::Approver | Self::Notifier => false,
            },
            // Who can set a rollout going or let it pass can also stop it.
            Permission::Halt => match self {
                Self::Deployer | Self::Approver | Self::Operator | Self::Admin => true,
                Self::Viewer | Self::Notifier => false,
            },
            Permission::Approve => match self {
                Self::Approver | Self::Operator | Self::Admin => true,
                Self::Viewer | Self::Deployer | Self::Notifier => false,
            },
            Permission::Operate => match self {
                Self::Operator | Self::Admin => true,
                Self::Viewer | Self::Deployer | Self::Approver | Self::Notifier => false,
            },
            Permission::Configure => match self {
                Self::Admin => true,
                Self::Viewer
                | Self::Deployer
                | Self::Approver
                | Self::Operator
                | Self::Notifier => false,
            },
            // A deploy tool runs its own checks after an installation.
            Permission::Notify => match self {
                Self::Deployer | Self::Operator | Self::Admin | Self::Notifier => true,
                Self::Viewer | Self::Approver => false,
            },
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Viewer => "viewer",
            Self::Deployer => "deployer",
            Self::Approver => "approver",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Notifier => "notifier",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_what_it_is_for() {
        let all = [
            Permission::Read,
            Permission::Deploy,
            Permission::Halt,
            Permission::Approve,
            Permission::Operate,
            Permission::Configure,
            Permission::Notify,
        ];
        let check = |role: Role, expected: [bool; 7]| {
            assert_eq!(all.map(|permission| role.may(permission)), expected, "{role}");
        };
        check(Role::Viewer, [true, false, false, false, false, false, false]);
        check(Role::Deployer, [true, true, true, false, false, false, true]);
        check(Role::Approver, [true, false, true, true, false, false, false]);
        check(Role::Operator, [true, true, true, true, true, false, true]);
        check(Role::Admin, [true; 7]);
        check(Role::Notifier, [false, false, false, false, false, false, true]);
    }
}
