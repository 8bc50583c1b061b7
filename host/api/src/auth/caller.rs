//! Who asks, and what they may.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use bulkhead_core::{Task, TenantName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::{Kind, Problem};

/// What a caller may do.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Look at tasks, queues, schedules, hosts.
    Read,
    /// Submit tasks and batches.
    Submit,
    /// Cancel, retry, edit and drop tasks; pause, limit and purge queues; change schedules.
    Operate,
    /// Everything: plugins and tokens too.
    Admin,
}

impl Scope {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Submit => "submit",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

/// Who asks. A layer around the API puts it into the request; without one nothing is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// What it is called in the audit.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The one tenant whose tasks it may see and touch; all without it.
    pub tenant: Option<TenantName>,
}

impl Caller {
    /// Whoever may do everything: the owner of the host's socket.
    #[must_use]
    pub fn owner() -> Self {
        Self { name: "owner".into(), scopes: vec![Scope::Admin], tenant: None }
    }

    /// Refuse those who lack a scope.
    pub(crate) fn may(&self, scope: Scope) -> Result<(), Problem> {
        if self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin) {
            return Ok(());
        }
        let scope = scope.as_str();
        Err(Problem::new(
            Kind::Forbidden,
            format!("this takes the scope `{scope}`; use a token that has it"),
        ))
    }

    /// Refuse those who lack a scope, and those who see one tenant only: what they ask for is
    /// everybody's.
    pub(crate) fn may_for_all(&self, scope: Scope) -> Result<(), Problem> {
        self.may(scope)?;
        match &self.tenant {
            None => Ok(()),
            Some(tenant) => Err(Problem::new(
                Kind::Forbidden,
                format!("this concerns all tenants, and the token is of tenant {tenant} alone"),
            )),
        }
    }

    /// Whether a tenant's tasks may be seen.
    pub(crate) fn sees(&self, tenant: &str) -> bool {
        self.tenant.as_ref().is_none_or(|own| own.as_str() == tenant)
    }

    /// Whether a task may be seen.
    pub(crate) fn sees_task(&self, task: &Task) -> bool {
        self.sees(task.tenant.as_str())
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Problem::new(Kind::Unauthorized, "send `Authorization: Bearer TOKEN`"))
    }
}
