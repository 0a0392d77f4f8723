//! Tests of the stored form: what it is for good, how it grows, how large it is, and that no bytes
//! whatsoever make it fail otherwise than with an error.

use proptest::prelude::*;

use super::*;
use crate::account::{Charge, Command, Draft, GrantRequest, Overuse, Status};
use crate::ratios::Parameters;

const DAY_0: i64 = 1_767_225_600_000;
const DAY: i64 = 86_400_000;
/// A key as callers choose them: a UUID.
const KEY: &str = "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b";

fn day(day: i64) -> Timestamp {
    Timestamp::from_millis(DAY_0 + day * DAY).unwrap()
}

fn credits(text: &str) -> Credits {
    text.parse().unwrap()
}

fn client(key: &str) -> Origin {
    Origin::Client { key: key.into() }
}

fn grant(amount: &str, source: Source, from: Option<i64>, until: Option<i64>) -> GrantRequest {
    GrantRequest {
        amount: credits(amount),
        source,
        priority: None,
        effective_at: from.map(day),
        expires_at: until.map(day),
        paid: None,
        rollover: None,
    }
}

fn item(credits: &str, lines: Vec<Line>) -> RatedItem {
    RatedItem {
        lines,
        credits: self::credits(credits),
        minimum_applied: false,
        matched: None,
        parameters: Parameters::new(),
        requests: 1,
        filled_by: None,
        provider: None,
    }
}

fn line(model: &str, dimension: &str, when: Option<&str>, multiplier: &str) -> Line {
    let when = when.map(|text| Conditions::from_text(text).unwrap());
    let rate = Rate::new("1.25".parse().unwrap(), Per::from_exponent(6).unwrap(), when).unwrap();
    let quantity = "123456".parse().unwrap();
    Line::new(model.into(), dimension.into(), quantity, rate, multiplier.parse().unwrap()).unwrap()
}

fn charge(items: Vec<RatedItem>) -> Charge {
    let sum = items.iter().map(|item| item.credits.micros()).sum();
    Charge {
        credits: Credits::from_micros(sum).unwrap(),
        items,
        ratio_version: Some(17),
        price_group: None,
        max_credits: None,
        occurred_at: None,
    }
}

fn entry(draft: Draft) -> Entry {
    let applied = draft.finish();
    let time = applied.state.settled_at();
    Entry { time, operations: applied.operations, state: applied.state, private_digest: None }
}

/// An entry with each kind of operation and of origin.
fn golden() -> Entry {
    let mut draft = Draft::open(&AccountState::new(Settings::default()), day(0));
    let subscription = Origin::Subscription { id: "sub-1".into(), period: 3 };
    for request in [
        grant("5", Source::Trial, None, Some(1)),
        grant("20", Source::Plan, Some(2), Some(32)),
        grant("0.5", Source::Promo, Some(9), None),
    ] {
        draft.apply(subscription.clone(), &Command::Grant(request)).unwrap();
    }
    let state = draft.finish().state;

    let mut draft = Draft::open(&state, day(3));
    let payment = Origin::Payment { provider: "stripe".into(), payment: "pi_42".into() };
    let paid = Some(Money { amount: credits("9.99"), currency: "EUR".into() });
    let request = GrantRequest { paid, ..grant("10", Source::Paid, None, None) };
    draft.apply(payment, &Command::Grant(request)).unwrap();
    let settings = Settings {
        overuse: Overuse::Forgive,
        credit_line: Credits::MAX,
        price_group: "pro".into(),
        metadata_visible: true,
        status: Status::Active,
    };
    draft.apply(Origin::System, &Command::Settings(settings)).unwrap();
    let minimum = RatedItem { minimum_applied: true, ..item("0.01", Vec::new()) };
    let lines = vec![
        line("openai/gpt-5.1", "input_tokens", None, "1"),
        line("openai/gpt-5.1", "output_tokens", Some(r#"{"service_class":"batch"}"#), "0.9"),
    ];
    let occurred_at = Some(day(1));
    let items = vec![item("40.25", lines), minimum];
    let charge = Charge { occurred_at, ..charge(items) };
    draft.apply(client(KEY), &Command::Charge(charge)).unwrap();
    Entry { private_digest: Some([7; 32]), ..entry(draft) }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).expect("below 16");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Format 1, byte by byte. Journals are kept for good, so these bytes are never to be changed, only
/// further ones added: a program that can't read them, or writes others, breaks every account.
const GOLDEN: &str = "
    01851b0000019b864dbc00846e6f70656e61692f6770742d352e316c696e7075745f746f6b656e736d6f7574
    7075745f746f6b656e7378197b22736572766963655f636c617373223a226261746368227d85848202811901
    008203801b0000019b7c01040081821901003a004c4b3f848201811901018203801b0000019b812760008182
    1901011a01312d00848200871902020018641a00989680f6f6821a00986f7063455552820282667374726970
    656570695f3432f681821902021a0098968084820481840250000000000000003635c9adc5dea00000637072
    6ff5820380f680848203841a026651a082831a02662a90f4828600011a075bca00187d02068800021a075bca
    00187d02060319232883192710f580111b0000019b7c010400820081782430313930613162322d633364342d
    376535662d386139622d306331643265336634613562f682821901013a01312cff821902023a0098967f8502
    1b0000019b864dbc0081861901020218321b0000019ba533e400f61a0007a120008402500000000000000036
    35c9adc5dea000006370726ff558200707070707070707070707070707070707070707070707070707070707
    070707
";

#[test]
fn format_1_is_what_it_was() {
    let bytes = golden().encode();
    let expected: String = GOLDEN.split_whitespace().collect();
    assert_eq!(hex(&bytes), expected);
    assert_eq!(Entry::decode(&bytes), Ok(golden()));
}

/// A charge that names a model by another name than its id, with a part in one of its lines.
fn golden_parts() -> Entry {
    let mut draft = Draft::open(&AccountState::new(Settings::default()), day(0));
    let part = ("output_reasoning_tokens".to_owned(), "23456".parse().unwrap());
    let line = line("m", "output_tokens", None, "1").with_parts(vec![part]).unwrap();
    let named = |starts_with: Option<&str>| {
        let starts_with = starts_with.map(str::to_owned);
        Some(Matched { name: "m-2026".into(), starts_with })
    };
    let items = vec![
        RatedItem { matched: named(Some("m-20")), ..item("0.2", vec![line]) },
        RatedItem { matched: named(None), ..item("0", Vec::new()) },
    ];
    draft.apply(client(KEY), &Command::Charge(charge(items))).unwrap();
    entry(draft)
}

/// What format 1 has had since lines have parts and items names: absent, both leave no trace.
const GOLDEN_PARTS: &str = "
    01841b0000019b76daa80085616d6d6f75747075745f746f6b656e73776f75747075745f726561736f6e696e
    675f746f6b656e73666d2d32303236646d2d323081848203831a00030d4082841a00030d40f4818900011a07
    5bca00187d0206f6f68182021a0165e9008203048400f480810311820081782430313930613162322d633364
    342d376535662d386139622d306331643265336634613562f68182f63a00030d3f85011b0000019b76daa800
    801a00030d408400006764656661756c74f4
";

#[test]
fn format_1_has_parts_and_names() {
    let bytes = golden_parts().encode();
    let expected: String = GOLDEN_PARTS.split_whitespace().collect();
    assert_eq!(hex(&bytes), expected);
    assert_eq!(Entry::decode(&bytes), Ok(golden_parts()));
}

/// One request is told by nothing, nor that one table priced all of it, nor that the caller named the
/// model; else what it was stands behind what there was before.
#[test]
fn an_item_has_its_requests_what_filled_it_and_whose_response_it_was() {
    let of = |requests: u32, filled_by: Option<u64>, provider: Option<&str>| {
        let mut draft = Draft::open(&AccountState::new(Settings::default()), day(0));
        let provider = provider.map(str::to_owned);
        let items = vec![RatedItem { requests, filled_by, provider, ..item("0.2", Vec::new()) }];
        draft.apply(client(KEY), &Command::Charge(charge(items))).unwrap();
        entry(draft)
    };
    let plain = of(1, None, None).encode().len();
    for (requests, filled_by, provider) in [
        (1, None, None),
        (u32::MAX, None, None),
        (1, Some(u64::MAX), None),
        (1, None, Some("azure")),
        (2, Some(1), Some("x")),
    ] {
        let entry = of(requests, filled_by, provider);
        let bytes = entry.encode();
        assert_eq!(bytes.len() > plain, (requests, filled_by, provider) != (1, None, None));
        assert_eq!(Entry::decode(&bytes), Ok(entry));
    }
}

/// Charges of a request that said what prices may depend on, one with a row that asked for it.
fn golden_parameters() -> Entry {
    let mut draft = Draft::open(&AccountState::new(Settings::default()), day(0));
    let batch = line("m", "output_tokens", Some(r#"{"service_class":"batch"}"#), "1");
    let items = vec![
        RatedItem {
            parameters: parameters(&[("service_class", "batch"), ("size", "1024x1024")]),
            ..item("0.2", vec![batch])
        },
        RatedItem { parameters: parameters(&[("quality", "batch")]), ..item("0", Vec::new()) },
    ];
    draft.apply(client(KEY), &Command::Charge(charge(items))).unwrap();
    entry(draft)
}

fn parameters(pairs: &[(&str, &str)]) -> Parameters {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// What format 1 has had since items keep the request's parameters: absent, they leave no trace.
const GOLDEN_PARAMETERS: &str = "
    01841b0000019b76daa80088616d6d6f75747075745f746f6b656e7378197b22736572766963655f636c6173
    73223a226261746368227d6d736572766963655f636c6173736562617463686473697a656931303234783130
    3234677175616c69747981848203831a00030d4082851a00030d40f4818700011a075bca00187d020602f682
    8203048205068500f480f68182070411820081782430313930613162322d633364342d376535662d38613962
    2d306331643265336634613562f68182f63a00030d3f85011b0000019b76daa800801a00030d408400006764
    656661756c74f4
";

#[test]
fn format_1_has_parameters() {
    let bytes = golden_parameters().encode();
    let expected: String = GOLDEN_PARAMETERS.split_whitespace().collect();
    assert_eq!(hex(&bytes), expected);
    assert_eq!(Entry::decode(&bytes), Ok(golden_parameters()));
}

/// An item has as many parameters, and a line as many parts, as the state machine lets through.
#[test]
fn names_of_an_item() {
    let check = |line: &Line, names: &[(String, &str)], expected: Result<(), &str>| {
        let names = names.iter().map(|(name, value)| (&**name, *value));
        let parameters = parameters(&names.collect::<Vec<_>>());
        let items = vec![RatedItem { parameters, ..item("1", vec![line.clone()]) }];
        let mut draft = Draft::open(&AccountState::new(Settings::default()), day(0));
        draft.apply(client(KEY), &Command::Charge(charge(items))).unwrap();
        let entry = entry(draft);
        let decoded = Entry::decode(&entry.encode()).map(|decoded| assert_eq!(decoded, entry));
        let expected = expected.map_err(|text| EntryError::Malformed(text.into()));
        assert_eq!(decoded, expected);
    };
    let names = |count: usize| (0..count).map(|n| (format!("name_{n}"), "x")).collect::<Vec<_>>();
    let parts = |count: usize| {
        let parts = (0..count).map(|n| (format!("part_{n}"), Quantity::from_whole(1).unwrap()));
        line("m", "input_tokens", None, "1").with_parts(parts.collect()).unwrap()
    };
    check(&parts(0), &names(MAX_PARAMETERS), Ok(()));
    check(&parts(0), &names(MAX_PARAMETERS + 1), Err("too many parameters"));
    check(&parts(0), &names(MAX_PARAMETERS + 2), Err("too many parameters"));
    check(&parts(0), &[("Size".into(), "x")], Err("parameter"));
    check(&parts(0), &[("size".into(), "")], Err("parameter"));
    check(&parts(MAX_LINES), &[], Ok(()));
    check(&parts(MAX_LINES + 1), &[], Err("too many parts"));
    check(&parts(MAX_LINES + 2), &[], Err("too many parts"));
}

#[test]
fn other_formats_are_named() {
    let mut bytes = golden().encode();
    for format in [0, 3, 0x85, 255] {
        bytes[0] = format;
        assert_eq!(Entry::decode(&bytes), Err(EntryError::UnknownFormat(format)));
        assert_eq!(Entry::decode(&[format]), Err(EntryError::UnknownFormat(format)));
    }
    for bytes in [&[][..], &[FORMAT], &[DEFLATED], &[DEFLATED, 3, 0]] {
        assert!(matches!(Entry::decode(bytes), Err(EntryError::Malformed(_))));
    }
}

/// An entry of 24 charges of one line each, as a batch makes it.
fn batch() -> Entry {
    let mut draft = Draft::open(&AccountState::new(Settings::default()), day(0));
    for index in 0..24 {
        let key = format!("{index:03}{}", &KEY[3..]);
        let items = vec![item("0.15432", vec![line("openai/gpt-5.1", "input_tokens", None, "1")])];
        draft.apply(client(&key), &Command::Charge(charge(items))).unwrap();
    }
    entry(draft)
}

/// Format 2, which is format 1 deflated. Another compressor may make other bytes of the same
/// entry; these must be read for good.
const GOLDEN_DEFLATED: &str = "
    02add5b10ec15014c6f15312669bd46abd38b72de55118e4566f454835516291689567907801cf6261f61cd2
    59138999e43bcbd9fedb2f5fd620322e9be795d27019e950cddad328164e8b17b3305ac7e37839d7e1ea5ccf
    d2f2c1a4d2f0917cde2b399161564737aaef4a955a4ac9b6d9294eb127c5c4f26dd1d34e205cd5f74467c2be
    d456602bc7cb93341f1481fb6f414607253a68a183363ae8a0835d74b0870ebae8601f1c64b414464b61b414
    464b61b414464b61b414464b61b414464b916829122d45a2a5c83fa41c8def82ef4d720ffb8c68eaeb40ad17
    f1eb0d
";

#[test]
fn format_2_is_what_it_was() {
    let golden: String = GOLDEN_DEFLATED.split_whitespace().collect();
    let pairs = golden.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    let golden: Vec<u8> = pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
    let bytes = batch().encode();
    assert_eq!(Entry::decode(&golden), Ok(batch()), "now: {}", hex(&bytes));
    assert_eq!(Entry::decode(&bytes), Ok(batch()));
    assert_eq!(bytes[0], DEFLATED);
    assert!(bytes.len() < 1_024, "{} bytes", bytes.len());
}

#[test]
fn what_inflates_badly_is_refused() {
    let cbor = golden().encode().split_off(1);
    let format_2 = |cbor: &[u8]| [&[DEFLATED][..], &deflate(cbor)].concat();
    assert_eq!(Entry::decode(&format_2(&cbor)), Ok(golden()));
    for bad in [
        format_2(&[]),
        format_2(&[&cbor[..], &[0]].concat()),
        [format_2(&cbor), vec![0]].concat(),
        // A bomb: 2 MB of zeros.
        format_2(&vec![0; 2 << 20]),
        format_2(&[&cbor[..], &vec![0; 1 << 20]].concat()),
    ] {
        assert!(matches!(Entry::decode(&bad), Err(EntryError::Malformed(_))));
    }
}

/// The state's own encoding, with what a newer version might add to it.
#[derive(Encode, Decode)]
struct NewerState {
    #[n(0)]
    seq: u64,
    #[n(1)]
    settled_at: Timestamp,
    #[n(2)]
    grants: Vec<NewerGrant>,
    #[n(3)]
    debt: Credits,
    #[n(4)]
    settings: NewerSettings,
    #[n(9)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    loans: Vec<u64>,
}

#[derive(Clone, Encode, Decode)]
struct NewerGrant {
    #[n(0)]
    id: GrantId,
    #[n(1)]
    source: Source,
    #[n(2)]
    priority: u8,
    #[n(3)]
    effective_at: Timestamp,
    #[n(4)]
    expires_at: Option<Timestamp>,
    #[n(5)]
    remaining: Credits,
    #[n(9)]
    lent: Option<Credits>,
}

#[derive(Encode, Decode)]
struct NewerSettings {
    #[n(0)]
    overuse: Overuse,
    #[n(1)]
    credit_line: Credits,
    #[n(2)]
    price_group: String,
    #[n(3)]
    metadata_visible: bool,
    #[n(9)]
    sleeping: Option<bool>,
}

impl NewerState {
    fn of(state: &AccountState) -> Self {
        let bytes = minicbor::to_vec(state).unwrap();
        minicbor::decode(&bytes).unwrap()
    }
}

/// The entry's own encoding, with what a newer version might add to it.
#[derive(Encode)]
struct NewerBody {
    #[n(0)]
    time: Timestamp,
    #[n(1)]
    strings: Vec<String>,
    #[n(2)]
    operations: Vec<NewerOperation>,
    #[n(3)]
    state: NewerState,
    #[n(4)]
    private_digest: Option<ByteArray<32>>,
    #[n(5)]
    trace: Option<Vec<(String, u64)>>,
}

#[derive(Encode)]
struct NewerOperation {
    #[n(0)]
    detail: NewerDetail,
    #[n(1)]
    origin: PackedOrigin,
    #[n(2)]
    at: Option<Timestamp>,
    #[n(3)]
    postings: Vec<NewerPosting>,
    #[n(4)]
    held: Option<Credits>,
}

#[derive(Encode)]
enum NewerDetail {
    #[n(3)]
    Charge {
        #[n(0)]
        requested: Credits,
        #[n(1)]
        items: Vec<PackedItem>,
        #[n(2)]
        ratio_version: Option<u64>,
        #[n(3)]
        occurred_at: Option<Timestamp>,
        #[n(4)]
        late: Option<bool>,
    },
    #[n(77)]
    Hold {
        #[n(0)]
        amount: Credits,
    },
}

#[derive(Clone, Encode)]
struct NewerPosting {
    #[n(0)]
    grant: Option<GrantId>,
    #[n(1)]
    credits: Credits,
    #[n(2)]
    terms: Option<(u8, Timestamp)>,
}

/// The first charge of an account, of 1 credit.
fn first_charge() -> Entry {
    let mut draft = Draft::open(&AccountState::new(Settings::default()), day(0));
    draft.apply(client("k"), &Command::Charge(charge(vec![item("1", Vec::new())]))).unwrap();
    entry(draft)
}

/// The same as a newer version would write it, with nothing new in it.
fn newer() -> NewerBody {
    let entry = first_charge();
    let items = vec![PackedItem {
        credits: credits("1"),
        minimum_applied: false,
        lines: vec![],
        matched: None,
        parameters: None,
        requests: None,
        filled_by: None,
        provider: None,
    }];
    NewerBody {
        time: entry.time,
        strings: Vec::new(),
        operations: vec![NewerOperation {
            detail: NewerDetail::Charge {
                requested: credits("1"),
                items,
                ratio_version: Some(17),
                occurred_at: None,
                late: None,
            },
            origin: PackedOrigin::Client("k".into()),
            at: None,
            postings: vec![NewerPosting { grant: None, credits: credits("-1"), terms: None }],
            held: None,
        }],
        state: NewerState::of(&entry.state),
        private_digest: None,
        trace: None,
    }
}

fn stored(body: &NewerBody) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    minicbor::encode(body, &mut bytes).unwrap();
    bytes
}

/// What a newer version writes about an account that uses nothing new is what this one writes:
/// absent fields take no byte, not even a null.
#[test]
fn new_fields_are_absent_where_they_say_nothing() {
    let bytes = first_charge().encode();
    assert_eq!(stored(&newer()), bytes);
    // Four fields of five, the digest is missing; so are the state's holds.
    assert_eq!(bytes[1], 0x84);
    assert_eq!(Entry::decode(&bytes).unwrap().private_digest, None);
    // Null is the same as missing.
    let mut with_null = bytes.clone();
    with_null[1] = 0x85;
    with_null.push(0xf6);
    assert_eq!(Entry::decode(&with_null), Ok(first_charge()));
}

#[test]
fn unknown_fields_of_what_is_only_read_are_skipped() {
    let check = |change: &dyn Fn(&mut NewerBody)| {
        let mut body = newer();
        change(&mut body);
        let bytes = stored(&body);
        assert_ne!(bytes, first_charge().encode());
        assert_eq!(Entry::decode(&bytes), Ok(first_charge()));
    };
    check(&|body| body.trace = Some(vec![("deep".into(), 1)]));
    check(&|body| body.operations[0].held = Some(credits("5")));
    check(&|body| body.operations[0].postings[0].terms = Some((50, day(9))));
    check(&|body| {
        let NewerDetail::Charge { late, .. } = &mut body.operations[0].detail else {
            unreachable!()
        };
        *late = Some(true);
    });
}

/// What is read from an entry and written to the next one must be understood whole.
#[test]
fn unknown_contents_of_the_state_are_refused() {
    let check = |change: &dyn Fn(&mut NewerState), expected: &str| {
        let mut body = newer();
        body.state.debt = Credits::ZERO;
        body.operations[0].postings.clear();
        body.state.seq = 5;
        let id = OperationId { seq: 4, position: 0 };
        body.state.grants = vec![NewerGrant {
            id: GrantId(id),
            source: Source::Plan,
            priority: 50,
            effective_at: day(0),
            expires_at: Some(day(9)),
            remaining: credits("1"),
            lent: None,
        }];
        assert!(Entry::decode(&stored(&body)).is_ok());
        change(&mut body.state);
        let Err(EntryError::Malformed(text)) = Entry::decode(&stored(&body)) else {
            panic!("accepted, instead of: {expected}");
        };
        assert!(text.contains(expected), "{text}, instead of: {expected}");
    };
    let newer = "only a newer version knows";
    check(&|state| state.loans = vec![1], newer);
    check(&|state| state.grants[0].lent = Some(credits("1")), newer);
    check(&|state| state.settings.sleeping = Some(true), newer);

    // And it must be one that the state machine can go on from.
    let add = |state: &mut NewerState, change: &dyn Fn(&mut NewerGrant)| {
        let mut grant = state.grants[0].clone();
        change(&mut grant);
        state.grants.push(grant);
    };
    let position = |position| GrantId(OperationId { seq: 3, position });
    check(&|state| state.seq = 0, "a grant's id is not its own");
    check(
        &|state| {
            state.seq = 0;
            state.grants.clear();
        },
        "no entry has this number",
    );
    check(&|state| state.seq = (1 << 56) - 1, "no entry has this number");
    check(&|state| state.seq = u64::MAX, "no entry has this number");
    check(&|state| state.seq = 3, "a grant's id is not its own");
    check(&|state| add(state, &|grant| grant.priority = 51), "a grant's id is not its own");
    check(&|state| add(state, &|_| ()), "burn order");
    check(&|state| add(state, &|grant| grant.id = position(0)), "burn order");
    check(&|state| state.grants[0].remaining = Credits::ZERO, "empty grant");
    check(&|state| state.grants[0].remaining = credits("-1"), "empty grant");
    check(&|state| state.grants[0].expires_at = Some(day(0)), "period is over");
    check(
        &|state| {
            state.grants[0].effective_at = day(9);
        },
        "period is empty",
    );
    check(&|state| state.debt = credits("-1"), "debt below zero");
    check(&|state| state.debt = credits("1"), "debt while there is something to spend");
    check(&|state| state.settings.credit_line = credits("-1"), "credit line below zero");
    check(
        &|state| {
            add(state, &|grant| {
                (grant.effective_at, grant.expires_at) = (day(5), None);
                (grant.id, grant.remaining) = (position(0), Credits::MAX);
            });
        },
        "grants over 10^15",
    );
    let fill = |state: &mut NewerState, count: u8, source: Source| {
        for index in 0..count {
            add(state, &|grant| {
                (grant.id, grant.source, grant.priority) = (position(index), source, 99);
            });
        }
    };
    check(&|state| fill(state, 64, Source::Paid), "too many grants");
    check(&|state| fill(state, 60, Source::Promo), "too many grants that don't merge");
}

#[test]
fn unknown_and_impossible_operations_are_refused() {
    let check = |change: &dyn Fn(&mut NewerBody), expected: &str| {
        let mut body = newer();
        change(&mut body);
        let Err(EntryError::Malformed(text)) = Entry::decode(&stored(&body)) else {
            panic!("accepted, instead of: {expected}");
        };
        assert!(text.contains(expected), "{text}, instead of: {expected}");
    };
    let posting = |grant, credits| NewerPosting { grant, credits, terms: None };
    let of_grant = Some(GrantId(OperationId { seq: 1, position: 0 }));
    check(
        &|body| body.operations[0].detail = NewerDetail::Hold { amount: credits("1") },
        "variant",
    );
    check(&|body| body.operations.clear(), "1 to 256 operations");
    check(
        &|body| {
            for _ in 0..256 {
                let postings = Vec::new();
                let origin = PackedOrigin::System;
                let detail = NewerDetail::Charge {
                    requested: Credits::ZERO,
                    items: Vec::new(),
                    ratio_version: None,
                    occurred_at: None,
                    late: None,
                };
                let operation = NewerOperation { detail, origin, at: None, postings, held: None };
                body.operations.push(operation);
            }
        },
        "1 to 256 operations",
    );
    let of_items = |body: &mut NewerBody, count: usize| {
        let NewerDetail::Charge { items, .. } = &mut body.operations[0].detail else {
            unreachable!()
        };
        items.resize_with(count, || PackedItem {
            credits: Credits::ZERO,
            minimum_applied: false,
            lines: Vec::new(),
            matched: None,
            parameters: None,
            requests: None,
            filled_by: None,
            provider: None,
        });
    };
    check(&|body| of_items(body, MAX_LINES + 1), "too many lines");
    check(
        &|body| {
            of_items(body, 1);
            let NewerDetail::Charge { items, .. } = &mut body.operations[0].detail else {
                unreachable!()
            };
            items[0].requests = Some(1);
        },
        "one request is not told",
    );
    check(
        &|body| {
            let NewerDetail::Charge { items, .. } = &mut body.operations[0].detail else {
                unreachable!()
            };
            items[0].lines.push(PackedLine {
                model: 0,
                dimension: 0,
                quantity: Quantity::ZERO,
                ratio_mantissa: 1,
                ratio_scale: 0,
                per_exponent: 0,
                when: None,
                multiplier: None,
                parts: None,
            });
        },
        "no such string",
    );
    check(
        &|body| body.operations[0].postings = vec![posting(None, -Credits::MAX); 2],
        "postings over 10^15",
    );
    check(
        &|body| {
            let each = [posting(None, -Credits::MAX), posting(of_grant, Credits::MAX)];
            body.operations[0].postings = [each.clone(), each].concat();
        },
        "postings over 10^15",
    );
    // Not all of it together, and not of the grants: the debt alone.
    check(
        &|body| {
            let half = Credits::from_micros(-Credits::MAX.micros() / 2).unwrap();
            let debt = [posting(None, -Credits::MAX), posting(None, half)];
            body.operations[0].postings = [&debt[..], &[posting(of_grant, Credits::MAX)]].concat();
        },
        "postings over 10^15",
    );
    // The balance before the entry would have been impossible.
    check(
        &|body| body.operations[0].postings = vec![posting(None, credits("-2"))],
        "a balance is out of range",
    );
    check(
        &|body| body.operations[0].postings = vec![posting(of_grant, Credits::MAX)],
        "a balance is out of range",
    );
}

/// An account after many entries, so that ids are as long as they get.
fn old_account() -> AccountState {
    let mut bytes = minicbor::to_vec(AccountState::new(Settings::default())).unwrap();
    // The array of fields, then the sequence number: from 0 to 1,000,000.
    assert_eq!(bytes[..2], [0x85, 0]);
    bytes.splice(1..2, minicbor::to_vec(1_000_000).unwrap());
    minicbor::decode(&bytes).unwrap()
}

fn with_grants(count: i64) -> AccountState {
    let mut state = old_account();
    for index in 0..count {
        let source = if index % 5 == 0 { Source::Paid } else { Source::Plan };
        let until = (source == Source::Plan).then_some(30 + index);
        let mut draft = Draft::open(&state, day(index));
        let request = grant("12345.678901", source, None, until);
        draft.apply(Origin::System, &Command::Grant(request)).unwrap();
        state = draft.finish().state;
    }
    state
}

/// What entries weigh: a written KiB of entry, operation and keys is a WRU each.
#[test]
fn sizes() {
    let check = |name: &str, entry: &Entry, limit: usize| {
        let bytes = entry.encode();
        println!("{:>5} of {limit:>5} bytes: {name}", bytes.len());
        assert!(bytes.len() <= limit, "{name}: {} bytes", bytes.len());
        assert_eq!(Entry::decode(&bytes).as_ref(), Ok(entry));
    };
    let digest = Some([255; 32]);
    let commit = |state: &AccountState, charges: &[Charge]| {
        let mut draft = Draft::open(state, day(10));
        for (index, charge) in charges.iter().enumerate() {
            // 36 characters, each key another.
            let key = format!("{index:03}{}", &KEY[3..]);
            draft.apply(client(&key), &Command::Charge(charge.clone())).unwrap();
        }
        Entry { private_digest: digest, ..entry(draft) }
    };
    let model = |index: usize| format!("{:0>30}", format!("provider/model-{index}"));
    let dimensions = ["input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens"];
    let lines = |distinct: bool, when: Option<&str>, multiplier: &str| -> Vec<RatedItem> {
        let name = |index| model(if distinct { index } else { 0 });
        let lines = (0..4).map(|index| line(&name(index), dimensions[index], when, multiplier));
        if distinct {
            lines.map(|line| item("3.086419", vec![line])).collect()
        } else {
            vec![item("12.345678", lines.collect())]
        }
    };

    let five = with_grants(5);
    let usual = charge(lines(false, None, "1"));
    check("charge, 5 grants, 4 lines of one model", &commit(&five, &[usual]), 700);
    let spread = Charge {
        occurred_at: Some(day(9)),
        ..charge(lines(true, Some(r#"{"service_class":"batch"}"#), "0.9"))
    };
    check("charge, 5 grants, 4 lines of 4 models, conditions", &commit(&five, &[spread]), 700);
    let told = parameters(&[
        ("quality", "high"),
        ("service_class", "priority"),
        ("size", "1024x1024"),
        ("speed", "fast"),
    ]);
    let mut items = lines(false, None, "1");
    items[0].parameters = told;
    check("charge, 5 grants, 4 lines, 4 parameters", &commit(&five, &[charge(items)]), 750);
    let all = Charge { credits: credits("60000"), items: Vec::new(), ..charge(Vec::new()) };
    check("charge, 5 grants, all of them taken", &commit(&five, &[all]), 700);

    let single = |index: usize| {
        let line = line(&model(0), dimensions[index % 4], None, "1");
        charge(vec![item("0.15432", vec![line])])
    };
    let batch: Vec<Charge> = (0..96).map(single).collect();
    check("batch of 25 charges of one line", &commit(&five, &batch[..25]), 25 * 100);
    check("batch of 96 charges of one line", &commit(&five, &batch), 96 * 100);
    check("charge of one line, 60 grants", &commit(&with_grants(60), &batch[..1]), 2_500);
}

#[derive(Debug, Clone)]
enum Damage {
    Set(prop::sample::Index, u8),
    Flip(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
    Copy(prop::sample::Index, prop::sample::Index, usize),
    Truncate(prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    use prop::sample::Index;
    let bytes = || prop::collection::vec(any::<u8>(), 1..9);
    prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        4 => (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        1 => (any::<Index>(), bytes()).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        1 => (any::<Index>(), 1..9_usize).prop_map(|(at, length)| Damage::Remove(at, length)),
        1 => (any::<Index>(), any::<Index>(), 1..40_usize)
            .prop_map(|(from, to, length)| Damage::Copy(from, to, length)),
        1 => any::<Index>().prop_map(Damage::Truncate),
    ]
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let length = bytes.len();
        match self {
            Self::Set(at, byte) => bytes[at.index(length)] = *byte,
            Self::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
            Self::Insert(at, new) => {
                let at = at.index(length);
                bytes.splice(at..at, new.iter().copied());
            }
            Self::Remove(at, count) => {
                let at = at.index(length);
                bytes.drain(at..length.min(at + count));
            }
            Self::Copy(from, to, count) => {
                let (from, to) = (from.index(length), to.index(length));
                let copy = bytes[from..length.min(from + count)].to_vec();
                let end = length.min(to + copy.len());
                bytes.splice(to..end, copy);
            }
            Self::Truncate(at) => bytes.truncate(at.index(length)),
        }
    }
}

/// Whatever the bytes: an error, or an entry that everything works with.
fn check_any(bytes: &[u8]) -> bool {
    let Ok(entry) = Entry::decode(bytes) else { return false };
    assert_eq!(Entry::decode(&entry.encode()).as_ref(), Ok(&entry));
    assert_eq!(entry.balances().last(), Some(&entry.state.balance()));
    for operation in &entry.operations {
        let _ = (operation.credits(), operation.debt_change());
    }
    let _ = entry.state.allowed();
    for at in [Timestamp::MIN, entry.state.settled_at(), day(30), Timestamp::MAX] {
        let _ = entry.state.settled(at);
        for amount in ["0", "7", "1000000000000000"] {
            let mut draft = Draft::open(&entry.state, at);
            for command in [
                Command::Grant(grant(amount, Source::Paid, None, None)),
                Command::Charge(charge(vec![item(amount, Vec::new())])),
                Command::Grant(grant(amount, Source::Plan, Some(1), Some(9))),
            ] {
                let _ = draft.apply(Origin::System, &command);
            }
            let next = self::entry(draft);
            if !next.operations.is_empty() {
                assert_eq!(Entry::decode(&next.encode()), Ok(next));
            }
        }
    }
    true
}

#[test]
fn every_truncation_is_refused() {
    for bytes in [golden().encode(), batch().encode()] {
        truncate_everywhere(&bytes);
    }
}

fn truncate_everywhere(bytes: &[u8]) {
    for length in 0..bytes.len() {
        assert!(!check_any(&bytes[..length]), "the first {length} bytes");
    }
    assert!(check_any(bytes));
    assert!(!check_any(&[bytes, &[0]].concat()), "a byte too many");
}

/// Each byte replaced by each other: few of them leave an entry, none a panic.
#[test]
fn no_single_byte_makes_it_fail() {
    for entry in [golden(), first_charge()] {
        let bytes = entry.encode();
        for (at, byte) in (0..bytes.len()).flat_map(|at| (0..=u8::MAX).map(move |byte| (at, byte)))
        {
            let mut damaged = bytes.clone();
            damaged[at] = byte;
            let _ = Entry::decode(&damaged).map(|entry| entry.balances());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn damaged_bytes_are_an_error_or_an_entry(
        damages in prop::collection::vec(damage(), 1..6),
        which in 0..4_usize,
    ) {
        let entry = match which {
            0 => golden(),
            1 => first_charge(),
            2 => batch(),
            _ => {
                let mut draft = Draft::open(&with_grants(5), day(31));
                draft.apply(client(KEY), &Command::Charge(charge(Vec::new()))).unwrap();
                entry(draft)
            }
        };
        let mut bytes = entry.encode();
        for damage in &damages {
            damage.apply(&mut bytes);
        }
        check_any(&bytes);
    }

    #[test]
    fn any_bytes_are_an_error(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        format in FORMAT..=DEFLATED,
    ) {
        bytes.insert(0, format);
        prop_assert!(!check_any(&bytes));
    }
}
