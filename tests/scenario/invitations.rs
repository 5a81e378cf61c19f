//! Accounts and their invitations, as operators make and take them back.

use futures::executor::block_on;
use harness::{ADMIN, Stage, TENANT, at, minutes};
use jiff::SignedDuration;
use shared::{
    audit::{Action, Actor},
    consent::invitation::{
        self, InvitationState, InviteAllError, InviteError, Invited, LIFETIME, NewInvitation, Used, WithdrawError,
        csv::{self, Row},
        link, list_of, withdraw,
    },
    ports::store::Store,
    tenant::{
        Feed,
        account::{self, Account, AccountError},
    },
};
use uuid::Uuid;

const FORM: Uuid = Uuid::from_u128(7);

fn by() -> Actor {
    Actor::Operator { oid: "a0000000-0000-4000-8000-00000000000b".to_owned(), name: "Otto".to_owned() }
}

fn store(stage: &Stage) -> &dyn Store {
    stage.app.ports.store.as_ref()
}

fn create(stage: &Stage, name: &str) -> Result<Account, AccountError> {
    block_on(account::create(store(stage), name, stage.now(), &by()))
}

fn new(account: &str, once: Option<Uuid>) -> NewInvitation {
    let (account, feeds) = (account.to_owned(), vec![Feed::Alerts]);
    NewInvitation { account, feeds, expected_tenant: None, lifetime: LIFETIME, once }
}

fn states(stage: &Stage, account: &str) -> Vec<InvitationState> {
    let account = block_on(account::by_name(store(stage), account)).unwrap().unwrap();
    let listed = block_on(list_of(store(stage), account.id, stage.now())).unwrap();
    listed.into_iter().map(|listed| listed.state).collect()
}

fn withdrawn(stage: &Stage, invited: &Invited) -> Result<(), WithdrawError> {
    block_on(withdraw(&stage.app, invited.id, &by())).map(|_| ())
}

#[test]
fn an_account_is_made_once_whatever_the_case_and_whoever_comes_second_is_told() {
    let stage = Stage::new();
    let made = create(&stage, " Contoso ").unwrap();
    assert_eq!(made.name, "Contoso");
    for again in ["Contoso", "CONTOSO", " contoso"] {
        assert!(matches!(create(&stage, again), Err(AccountError::Taken(name)) if name == "Contoso"), "{again}");
    }
    assert!(matches!(create(&stage, "\u{200b}"), Err(AccountError::Name)));
    stage.pass(minutes(1));
    let other = create(&stage, "A").unwrap();
    assert_eq!(block_on(account::list(store(&stage))).unwrap(), [other, made.clone()]);
    assert_eq!(block_on(account::by_id(store(&stage), made.id)).unwrap(), Some(made));
    assert_eq!(block_on(account::by_id(store(&stage), FORM)).unwrap(), None);
    let trail = stage.trail();
    let accounts: Vec<_> = trail.iter().map(|entry| (entry.action, entry.account.as_deref().unwrap())).collect();
    assert_eq!(accounts, [(Action::AccountCreated, "Contoso"), (Action::AccountCreated, "A")]);
    assert!(trail.iter().all(|entry| entry.actor == by()));
}

#[test]
fn an_account_is_shown_its_own_invitations_and_what_became_of_each() {
    let stage = Stage::unapproved();
    let [used, taken_back, short] = [
        new("Contoso", None),
        new("contoso", None),
        NewInvitation { lifetime: SignedDuration::from_hours(1), ..new("Contoso", None) },
    ]
    .map(|new| {
        stage.pass(minutes(1));
        stage.invited(&new).unwrap()
    });
    stage.invited(&new("Another", None)).unwrap();
    stage.visitor().consent(used.link.as_str(), ADMIN);
    withdrawn(&stage, &taken_back).unwrap();
    let at_withdrawal = stage.now();
    assert_eq!(states(&stage, "Contoso")[0], InvitationState::Open);
    stage.pass(minutes(60));
    assert_eq!(short.expires_at, at(63));
    let used_by = Used { at: at_withdrawal, tenant_id: TENANT.parse().unwrap() };
    assert_eq!(
        states(&stage, "Contoso"),
        [InvitationState::Expired, InvitationState::Withdrawn { at: at_withdrawal }, InvitationState::Used(used_by),]
    );
    assert_eq!(states(&stage, "Another"), [InvitationState::Open]);
}

#[test]
fn a_withdrawn_invitation_says_so_at_every_step_of_the_way() {
    let stage = Stage::unapproved();
    let invited = stage.invited(&new("Contoso", None)).unwrap();
    let mut admin = stage.visitor();
    let back = admin.approve(invited.link.as_str(), ADMIN);
    withdrawn(&stage, &invited).unwrap();
    withdrawn(&stage, &invited).unwrap();
    for page in
        [admin.get(&back), stage.visitor().get(invited.link.as_str()), admin.post(&format!("{}/start", invited.link))]
    {
        assert_eq!((page.status, page.heading()), (410, "This invitation has been withdrawn"));
        assert!(
            page.body.contains("Example &#38; Sons Security") && !page.body.contains("Start again"),
            "{}",
            page.body
        );
    }
    assert!(stage.tenants().is_empty());
    let actions: Vec<Action> = stage.deeds().into_iter().map(|(action, _)| action).collect();
    assert_eq!(actions, [Action::AccountCreated, Action::Invited, Action::InvitationWithdrawn], "told once");
}

#[test]
fn what_is_over_is_not_withdrawn_and_the_reason_is_told() {
    let stage = Stage::unapproved();
    let used = stage.invited(&new("Contoso", None)).unwrap();
    stage.visitor().consent(used.link.as_str(), ADMIN);
    let refused = withdrawn(&stage, &used).unwrap_err();
    assert!(matches!(refused, WithdrawError::Used(tenant) if tenant.to_string() == TENANT));
    assert!(refused.to_string().contains("remove the tenant"), "{refused}");
    let late = stage.invited(&new("Contoso", None)).unwrap();
    stage.pass(LIFETIME);
    assert!(matches!(withdrawn(&stage, &late), Err(WithdrawError::Expired)));
    let nobody = block_on(withdraw(&stage.app, FORM, &by()));
    assert!(matches!(nobody, Err(WithdrawError::Unknown)));
}

#[test]
fn the_same_form_sent_twice_is_one_invitation_and_one_link() {
    let stage = Stage::unapproved();
    let first = stage.invited(&new("Contoso", Some(FORM))).unwrap();
    stage.pass(minutes(1));
    assert_eq!(stage.invited(&new("contoso ", Some(FORM))).unwrap(), first);
    // Going back and asking for something else is another wish.
    let others = [
        new("Another", Some(FORM)),
        NewInvitation { feeds: vec![Feed::Alerts, Feed::Machines], ..new("Contoso", Some(FORM)) },
        NewInvitation { expected_tenant: Some(TENANT.to_owned()), ..new("Contoso", Some(FORM)) },
        NewInvitation { lifetime: LIFETIME - minutes(60), ..new("Contoso", Some(FORM)) },
        new("Contoso", Some(Uuid::from_u128(8))),
        new("Contoso", None),
    ];
    let mut ids: Vec<Uuid> = others.iter().map(|new| stage.invited(new).unwrap().id).collect();
    ids.push(first.id);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), others.len() + 1);
    assert_eq!(stage.deeds().iter().filter(|(action, _)| *action == Action::Invited).count(), ids.len());
    withdrawn(&stage, &first).unwrap();
    let again = stage.invited(&new("Contoso", Some(FORM))).unwrap_err();
    assert!(again.to_string().contains("been withdrawn"), "{again}");
}

#[test]
fn the_link_of_an_open_invitation_can_be_shown_again() {
    let stage = Stage::unapproved();
    let invited = stage.invited(&new("Contoso", None)).unwrap();
    let kept = block_on(invitation::find(store(&stage), invited.id)).unwrap().unwrap();
    assert_eq!(block_on(link(&stage.app, &kept)).unwrap(), invited);
    assert_eq!(stage.visitor().get(invited.link.as_str()).status, 200);
    stage.pass(LIFETIME);
    assert!(matches!(block_on(link(&stage.app, &kept)), Err(InviteError::Refused(words)) if words.contains("expired")));
}

#[test]
fn an_invitation_tells_the_trail_whom_and_what_for_and_never_the_link() {
    let stage = Stage::unapproved();
    let both = NewInvitation { feeds: vec![Feed::Alerts, Feed::Machines], ..new("Contoso", None) };
    stage.invited(&NewInvitation { expected_tenant: Some(TENANT.to_owned()), ..both }).unwrap();
    let entry = stage.trail().into_iter().find(|entry| entry.action == Action::Invited).unwrap();
    assert_eq!((entry.account.as_deref(), entry.tenant_id), (Some("Contoso"), TENANT.parse().ok()));
    assert_eq!(entry.detail, "For alerts and machines, good for one tenant alone until 2026-11-29 12:00 UTC.");
}

fn invite_all(stage: &Stage, rows: &[Row]) -> Result<Vec<(u64, Invited)>, InviteAllError> {
    let by = by();
    let all = invitation::invite_all(&stage.app, rows, &[Feed::Alerts], LIFETIME, Some(FORM), &by);
    let invited = block_on(all)?;
    invited.iter().for_each(|row| stage.sent(&row.invited.link));
    Ok(invited.into_iter().map(|row| (row.line, row.invited)).collect())
}

#[test]
fn a_file_of_customers_is_invited_as_a_whole_and_the_same_file_again_is_nobody_new() {
    let stage = Stage::unapproved();
    stage.tenant(|tenant| tenant.domains.push("contoso.example".to_owned()));
    let rows = csv::parse("account;expected_tenant\r\nContoso;contoso.example\r\nFabrikam;\r\ncontoso;\r\n").unwrap();
    let invited = invite_all(&stage, &rows).unwrap();
    let who: Vec<_> = invited.iter().map(|(line, invited)| (*line, invited.account.as_str())).collect();
    assert_eq!(who, [(2, "Contoso"), (3, "Fabrikam"), (4, "Contoso")]);
    assert_eq!(invite_all(&stage, &rows).unwrap(), invited);
    assert_eq!(stage.deeds().iter().filter(|(action, _)| *action == Action::Invited).count(), 3);
    assert!(stage.visitor().start(invited[0].1.link.as_str()).contains(TENANT));
}

/// What is wrong with a file that can be read.
fn mistakes_in(stage: &Stage, file: &str) -> Vec<csv::Mistake> {
    match invite_all(stage, &csv::parse(file).unwrap()) {
        Err(InviteAllError::Mistakes(mistakes)) => mistakes,
        _ => Vec::new(),
    }
}

#[test]
fn a_file_with_a_mistake_that_only_entra_knows_invites_nobody() {
    let stage = Stage::unapproved();
    stage.tenant(|tenant| tenant.domains.extend(["contoso.example".to_owned(), "contoso.test".to_owned()]));
    let file = "A,fabrikam.example\nB\nC,contoso.example\nD,nobody.example\n";
    let mistakes = mistakes_in(&stage, file);
    assert_eq!(mistakes.iter().map(|mistake| mistake.line).collect::<Vec<_>>(), [1, 4]);
    assert!(mistakes[0].text.contains("no domain of an Entra tenant"), "{mistakes:?}");
    let file = format!("C,contoso.example\nD,contoso.test\nC,{TENANT}\n");
    let mistakes = mistakes_in(&stage, &file);
    assert_eq!(mistakes.iter().map(|mistake| mistake.line).collect::<Vec<_>>(), [2, 3], "{mistakes:?}");
    assert_eq!(stage.trail(), []);
    assert_eq!(block_on(account::list(store(&stage))).unwrap(), []);
}
