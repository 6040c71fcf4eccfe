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
}

/// Something that a route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Look.
    Read,
    /// Start rollouts, register targets, push alarms.
    Deploy,
    /// Take traffic back or keep it from rising: abort, stop, pause.
    Halt,
    /// Approve and reject.
    Approve,
    /// Move traffic by hand and past what stands against it.
    Operate,
    /// Change the configuration.
    Configure,
}

impl Role {
    /// Whether the role includes a permission.
    #[must_use]
    pub fn may(self, permission: Permission) -> bool {
        match permission {
            Permission::Read => true,
            Permission::Deploy => match self {
                Self::Deployer | Self::Operator | Self::Admin => true,
                Self::Viewer | Self::Approver => false,
            },
            // Who can set a rollout going or let it pass can also stop it.
            Permission::Halt => match self {
                Self::Deployer | Self::Approver | Self::Operator | Self::Admin => true,
                Self::Viewer => false,
            },
            Permission::Approve => match self {
                Self::Approver | Self::Operator | Self::Admin => true,
                Self::Viewer | Self::Deployer => false,
            },
            Permission::Operate => match self {
                Self::Operator | Self::Admin => true,
                Self::Viewer | Self::Deployer | Self::Approver => false,
            },
            Permission::Configure => match self {
                Self::Admin => true,
                Self::Viewer | Self::Deployer | Self::Approver | Self::Operator => false,
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
        ];
        let check = |role: Role, expected: [bool; 6]| {
            assert_eq!(all.map(|permission| role.may(permission)), expected, "{role}");
        };
        check(Role::Viewer, [true, false, false, false, false, false]);
        check(Role::Deployer, [true, true, true, false, false, false]);
        check(Role::Approver, [true, false, true, true, false, false]);
        check(Role::Operator, [true, true, true, true, true, false]);
        check(Role::Admin, [true; 6]);
    }
}
