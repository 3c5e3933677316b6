//! Experiments: two or more models, each serving a part of the units (users, as a
//! rule), and what is known of the difference.
//!
//! [`Contract`] is the file that says what is compared and how traffic is ramped up;
//! [`bucket`] and [`choose`] find a unit's arm; [`Ramp`] decides what is next;
//! [`statistics`] says how large a difference is and how sure that is; [`Study`] takes
//! what was shown and what came of it, and reports.
//!
//! Nothing in here has a clock, a network or a state that outlives a call.

mod assignment;
mod contract;
mod market;
mod ramp;
mod state;
pub mod statistics;
mod study;

pub use assignment::{HashVersion, bucket, choose};
pub use contract::{Arm, Contract, Guard, Place, Step};
pub use market::{Action, Ledger, LogConfig, Market, MarketConfig, MarketDay, MarketReport, Visit, lifts};
pub use ramp::{ArmEvidence, Count, Decision, Evidence, MISMATCH, Ramp};
pub use state::{Assignment, State, Status};
pub use study::{
    ArmFigures, Calibration, Correction, Difference, ECPM, Lift, Scenario, Settings, Shown, Snapshot, Study,
    StudyReport,
};
