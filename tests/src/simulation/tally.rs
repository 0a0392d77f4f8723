//! [`Tally`]: what a simulation has seen, for the table at its end.

use std::fmt;

macro_rules! counted {
    ($(#[$about:meta])* $name:ident { $($variant:ident = $text:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $(#[doc = $text] $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// What it is called in the table.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

counted! {
    /// What goes wrong.
    Fault {
        Conflict = "a transaction met another one",
        MaskedReason = "a cancellation that hides one of its reasons behind a conflict",
        Throttled = "throttled: not done, and said so",
        RequestLost = "time-out before the commit: the request was lost",
        AnswerLost = "time-out after the commit: the answer was lost",
        Late = "time-out, and done after the caller had given up",
        Twice = "done again by the network after it had been answered",
        Resent = "sent again by the SDK, and the second answer counted",
        HalfPage = "a query that returned less than there was",
        Outage = "a call into an outage of seconds",
        Death = "a function that died between two awaits",
        ClockStep = "a client's clock that jumped",
        Skewed = "a call of a client whose clock is known to be wrong",
        TimeJump = "minutes or weeks in which nobody asked",
    }
}

counted! {
    /// What happens.
    Event {
        Asked = "calls of the ledger",
        Acknowledged = "acknowledged",
        Replayed = "of these, replays",
        Refused = "refused",
        Unknown = "left unknown by their answer or death",
        Landed = "errands left unknown that had happened",
        Conflict = "somebody was faster",
        Retried = "tried again within a call",
        Reads = "reads",
        Entries = "journal entries",
        Operations = "operations in journals",
        Verified = "journals verified",
    }
}

/// What simulations have seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Runs.
    pub seeds: u64,
    faults: [u64; Fault::ALL.len()],
    events: [u64; Event::ALL.len()],
}

impl Default for Tally {
    fn default() -> Self {
        Self { seeds: 0, faults: [0; Fault::ALL.len()], events: [0; Event::ALL.len()] }
    }
}

impl Tally {
    /// Counts a fault.
    pub fn fault(&mut self, fault: Fault) {
        self.faults[fault as usize] += 1;
    }

    /// Counts events.
    pub fn count(&mut self, event: Event, times: u64) {
        self.events[event as usize] += times;
    }

    /// How often a fault was seen.
    pub fn faults(&self, fault: Fault) -> u64 {
        self.faults[fault as usize]
    }

    /// How often an event was seen.
    pub fn events(&self, event: Event) -> u64 {
        self.events[event as usize]
    }

    /// The same for `cargo evidence`, a line for each thing that goes wrong.
    pub fn evidence(&self) -> String {
        let events = [Event::Asked, Event::Acknowledged, Event::Landed, Event::Verified];
        let events = events.map(|event| format!("{} {}", self.events(event), event.name()));
        let first = format!("{} seeds, {}", self.seeds, events.join(", "));
        let faults = Fault::ALL.iter();
        let faults = faults.map(|fault| format!("{} {}", self.faults(*fault), fault.name()));
        let lines = std::iter::once(first).chain(faults);
        lines.map(|line| format!("evidence: simulation: {line}\n")).collect::<Vec<_>>().concat()
    }

    /// Adds what others have seen.
    pub fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.faults.iter_mut().zip(other.faults).for_each(|(sum, more)| *sum += more);
        self.events.iter_mut().zip(other.events).for_each(|(sum, more)| *sum += more);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>12}  seeds", self.seeds)?;
        for event in Event::ALL {
            writeln!(f, "{:>12}  {}", self.events(*event), event.name())?;
        }
        for fault in Fault::ALL {
            writeln!(f, "{:>12}  fault: {}", self.faults(*fault), fault.name())?;
        }
        Ok(())
    }
}
