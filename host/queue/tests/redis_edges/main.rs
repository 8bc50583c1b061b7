//! What the Redis broker does beyond the plain way of a task: terms, limits, links between
//! tasks, schedules, and repair. Each test has a server of its own.

mod limits;
mod links;
mod repair;
mod schedules;
mod stage;
mod terms;
