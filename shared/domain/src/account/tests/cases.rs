//! The table of cases, and what takes too many commands for it.

use super::script::{Machine, check_all};
use super::{check_entry, script, timestamp};
use crate::account::{
    AccountState, Allowed, Charge, Command, Draft, GrantId, GrantRequest, HoldRequest,
    MAX_COMMANDS, MAX_GRANTS, MAX_OTHER_GRANTS, MAX_VOIDED, Operation, OperationId, Origin,
    Overuse, Rejection, Rollover, Settings, Source,
};
use crate::{Credits, Timestamp};

/// The state machine itself.
struct Direct {
    state: AccountState,
    draft: Draft,
    accepted: bool,
    /// How many operations of the draft were told.
    told: usize,
}

impl Direct {
    fn new() -> Self {
        let state = AccountState::new(Settings::default());
        let draft = Draft::open(&state, timestamp(0));
        Self { state, draft, accepted: false, told: 0 }
    }

    fn news(&mut self) -> Vec<Operation> {
        self.accepted = true;
        let operations = self.draft.clone().finish().operations.split_off(self.told);
        self.told += operations.len();
        operations
    }
}

impl Machine for Direct {
    fn open(&mut self, now: Timestamp) {
        self.draft = Draft::open(&self.state, now);
        (self.accepted, self.told) = (false, 0);
    }

    fn settings(&self) -> Settings {
        self.draft.state().settings().clone()
    }

    fn apply(&mut self, origin: Origin, command: &Command) -> Result<Vec<Operation>, Rejection> {
        let before = format!("{:?}", self.draft);
        match self.draft.apply(origin.clone(), command) {
            Ok(_) => Ok(self.news()),
            Err(rejection) => {
                assert_eq!(format!("{:?}", self.draft), before, "as it was");
                assert_eq!(self.draft.apply(origin, command).as_ref(), Err(&rejection), "again");
                Err(rejection)
            }
        }
    }

    fn look(&mut self) -> Vec<Operation> {
        self.news()
    }

    fn close(&mut self) {
        if self.accepted && !self.draft.is_empty() {
            let applied = self.draft.clone().finish();
            check_entry(&self.state, &applied);
            self.state = applied.state;
        }
    }

    fn state(&self) -> AccountState {
        self.state.clone()
    }
}

#[test]
fn cases() {
    check_all("the state machine", &script::cases(), |_| Direct::new());
}

fn grant_of_1(from_millis: i64, until_millis: i64) -> Command {
    Command::Grant(GrantRequest {
        amount: Credits::from_whole(1),
        source: Source::Plan,
        priority: None,
        effective_at: Some(timestamp(from_millis)),
        expires_at: Some(timestamp(until_millis)),
        paid: None,
        rollover: None,
    })
}

fn charge_of(credits: u32) -> Command {
    Command::Charge(Charge::fixed(Credits::from_whole(credits)))
}

/// An entry has at most 256 operations, as many as an id has positions: those of 96 commands, what
/// each of them lets expire at once, and what time has brought before.
#[test]
fn no_entry_has_more_operations_than_positions() {
    let check = |pending: usize, charges: usize, missed: usize| {
        let mut draft = Draft::open(&AccountState::new(Settings::default()), timestamp(0));
        for index in (0..).take(pending) {
            draft.apply(Origin::System, &grant_of_1(1 + index, 200 + index)).unwrap();
        }
        let state = draft.finish().state;

        let mut draft = Draft::open(&state, timestamp(1_000));
        for _ in 0..charges {
            draft.apply(Origin::System, &charge_of(0)).unwrap();
        }
        for _ in 0..missed {
            draft.apply(Origin::System, &grant_of_1(500, 501)).unwrap();
        }
        let full = format!("{draft:?}");
        for command in [grant_of_1(500, 501), charge_of(1), charge_of(0)] {
            let rejection = draft.apply(Origin::System, &command);
            assert!(matches!(rejection, Err(Rejection::LimitExceeded(_))), "{rejection:?}");
        }
        assert_eq!(format!("{draft:?}"), full);
        let applied = draft.finish();
        assert_eq!(applied.operations.len(), 2 * pending + charges + 2 * missed);
        check_entry(&state, &applied);
    };
    check(0, 0, MAX_COMMANDS);
    check(32, 0, MAX_COMMANDS);
    check(33, 0, 95);
    check(33, 1, 94);
    check(60, 0, 68);
    check(60, MAX_COMMANDS, 0);
}

/// What a missed period rolls over, and the end of that, are operations as well.
#[test]
fn no_entry_has_more_operations_where_credits_roll_over() {
    let mut draft = Draft::open(&AccountState::new(Settings::default()), timestamp(0));
    for index in (0..).take(60) {
        draft.apply(Origin::System, &grant_of_1(1 + index, 200 + index)).unwrap();
    }
    let state = draft.finish().state;
    let Command::Grant(missed) = grant_of_1(500, 501) else { unreachable!() };
    let one = Credits::from_whole(1);
    let rollover = Rollover { min: Credits::ZERO, max: one, expires_at: timestamp(600) };
    let rolls_over = Command::Grant(GrantRequest { rollover: Some(rollover), ..missed });
    for charges in 0..4 {
        let mut draft = Draft::open(&state, timestamp(1_000));
        for _ in 0..charges {
            draft.apply(Origin::System, &charge_of(0)).unwrap();
        }
        while draft.apply(Origin::System, &rolls_over).is_ok() {}
        let applied = draft.finish();
        let (room, each) = (256 - 2 * 60 - charges, 4);
        assert_eq!(applied.operations.len(), 256 - room % each);
        check_entry(&state, &applied);
    }
}

/// However much time has brought, there is room for the command that was asked.
#[test]
fn one_command_always_fits() {
    let mut draft = Draft::open(&AccountState::new(Settings::default()), timestamp(0));
    for index in (0..).take(MAX_OTHER_GRANTS) {
        draft.apply(Origin::System, &grant_of_1(1, 10 + index)).unwrap();
    }
    for index in (60..).take(MAX_GRANTS - MAX_OTHER_GRANTS) {
        let Command::Grant(mut request) = grant_of_1(1, 10 + index) else { unreachable!() };
        request.source = Source::Paid;
        draft.apply(Origin::System, &Command::Grant(request)).unwrap();
    }
    let state = draft.finish().state;
    let mut draft = Draft::open(&state, timestamp(1_000));
    let id = draft.apply(Origin::System, &grant_of_1(500, 501)).unwrap();
    assert_eq!(id, OperationId { seq: 2, position: 128 });
    check_entry(&state, &draft.finish());
}

/// A rejected command counts neither as a command nor as an operation.
#[test]
fn rejections_leave_room() {
    let state = AccountState::new(Settings::default());
    let mut draft = Draft::open(&state, timestamp(0));
    assert!(draft.is_empty());
    for position in 0..=u8::try_from(MAX_COMMANDS).unwrap() {
        draft.apply(Origin::System, &grant_of_1(5, 5)).unwrap_err();
        if usize::from(position) < MAX_COMMANDS {
            let id = draft.apply(Origin::System, &charge_of(1)).unwrap();
            assert_eq!(id, OperationId { seq: 1, position });
        }
    }
    let rejection = draft.apply(Origin::System, &charge_of(1)).unwrap_err();
    assert_eq!(rejection.to_string(), "an entry carries at most 96 operations");
    check_entry(&state, &draft.finish());
}

#[test]
fn new_work_is_allowed_while_there_is_something_to_spend() {
    let check = |overuse, line: &str, grant: u32, charge: u32, expected: Allowed| {
        let mut draft = Draft::open(&AccountState::new(Settings::default()), timestamp(0));
        let settings =
            Settings { overuse, credit_line: line.parse().unwrap(), ..Settings::default() };
        draft.apply(Origin::System, &charge_of(charge)).unwrap();
        draft.apply(Origin::System, &Command::Settings(settings)).unwrap();
        for _ in 0..grant {
            draft.apply(Origin::System, &grant_of_1(0, 9)).unwrap();
        }
        assert_eq!(draft.state().allowed(), expected, "{overuse:?} {line} {grant} {charge}");
    };
    for overuse in [Overuse::Record, Overuse::Refuse, Overuse::Forgive] {
        check(overuse, "0", 0, 0, Allowed::InsufficientCredits);
        check(overuse, "0", 1, 0, Allowed::Yes);
        check(overuse, "0", 5, 5, Allowed::InsufficientCredits);
        check(overuse, "0", 4, 5, Allowed::Debt);
        check(overuse, "1", 4, 5, Allowed::Debt);
        check(overuse, "1.000001", 4, 5, Allowed::Yes);
        check(overuse, "0.000001", 0, 0, Allowed::Yes);
        check(overuse, "1000000000000000", 9, 0, Allowed::Yes);
    }
}

/// At the end of time nothing can be reserved: such a hold would have ended as it begins.
#[test]
fn a_hold_ends_later_than_it_begins() {
    let check = |before_the_end: i64, expected: Result<(), Rejection>| {
        let now = Timestamp::MAX.saturating_add_millis(-before_the_end);
        let settings = Settings { credit_line: Credits::from_whole(9), ..Settings::default() };
        let mut draft = Draft::open(&AccountState::new(settings), now);
        let hold = Command::Hold(HoldRequest {
            credits: Credits::from_whole(1),
            millis: 5,
            partial: false,
            ratio_version: None,
            price_group: None,
        });
        let answer = draft.apply(Origin::System, &hold).map(|_| ());
        assert_eq!(answer, expected, "{before_the_end} ms before the end");
    };
    check(1, Ok(()));
    check(0, Err(Rejection::Invalid("time ends before the hold")));
}

/// Reading settles in memory and is no entry.
#[test]
fn reading_writes_nothing() {
    let mut draft = Draft::open(&AccountState::new(Settings::default()), timestamp(0));
    let id = GrantId(draft.apply(Origin::System, &grant_of_1(10, 20)).unwrap());
    let state = draft.finish().state;
    let check = |at: i64, posted: u32| {
        let read = state.settled(timestamp(at));
        assert_eq!(read.balance().posted, Credits::from_whole(posted), "at {at}");
        assert_eq!((read.seq(), read.settled_at()), (1, timestamp(at.max(0))));
        assert!(read.grants().iter().all(|grant| grant.id == id));
        assert_eq!(read.settled(timestamp(at)), read);
        // Another writer may have been faster: what was read can still be settled further.
        assert_eq!(read.settled(timestamp(30)), state.settled(timestamp(30)));
    };
    check(-1, 0);
    check(0, 0);
    check(9, 0);
    check(10, 1);
    check(19, 1);
    check(20, 0);
}

/// A clawback may ask for each void of bought credits, so that none is forgotten.
#[test]
fn voids_of_bought_credits_have_a_limit() {
    let mut draft = Draft::open(&AccountState::new(Settings::default()), timestamp(0));
    let mut void_one = |source| {
        let Command::Grant(request) = grant_of_1(0, 1_000) else { unreachable!() };
        let request = GrantRequest { source, ..request };
        let opened = draft.apply(Origin::System, &Command::Grant(request)).unwrap();
        let voided = draft.apply(Origin::System, &Command::VoidGrant(GrantId(opened)));
        // Two commands an entry.
        draft = Draft::open(&draft.clone().finish().state, timestamp(0));
        voided
    };
    for _ in 0..MAX_VOIDED {
        void_one(Source::Paid).unwrap();
    }
    let rejection = void_one(Source::Paid).unwrap_err();
    assert!(matches!(rejection, Rejection::LimitExceeded(_)), "{rejection:?}");
    void_one(Source::Promo).unwrap();
}
