//! Forms that cannot be forwarded when they come: kept, shown, and carried up once.
//!
//! A form is kept if it comes from a page of this host, or of a site that may post forms here (`entry.rs`); else the gateway would send
//! other sites' forms in a broker's name. It is
//! sent by a press on a button of ours, which posts nothing to where the form went at first, with a mark in the query. The request that
//! goes up is then the form's own, byte for byte; the policy is asked about that one.

use crate::gateway::admission::entry::host_in;
use crate::gateway::admission::intent::body_of;
use crate::gateway::admission::portal::best;
use crate::gateway::context::{RequestContext, RequestKind};
use crate::gateway::proxy::{Admission, Gateway};
use crate::gateway::request::audience::Audience;
use crate::gateway::request::cookies::{Ambiguous, RequestCookies};
use crate::gateway::request::form;
use crate::gateway::request::form::{BadForm, Initiator, read_body};
use crate::gateway::request::origin::Scheme;
use crate::gateway::request::route::{requested_target, retarget, with_mark, without_mark};
use crate::gateway::respond::failure::Failure;
use crate::gateway::respond::reply::Reply;
use crate::gateway::sign_in_pages::Visit;
use crate::pages::{BlockedSubmission, Keeping, KeptForm, OnFile, SessionEnded, View};
use crate::parking::{NotKept, Parking, Place, Taken, Who};
use crate::store::Seen;
use crate::telemetry::metrics::{Parking as Outcome, Refusal, Request};
use bytes::Bytes;
use domain::ids::FormId;
use domain::parking::{Fate, FormStage, ParkedForm, is_keepable, is_of_html_forms};
use domain::policy::{self, Decision, Permit};
use domain::return_to::ReturnTo;
use domain::session::Session as BrokerSession;
use domain::submission::{self, Body, Charset, Intent};
use domain::time::Timestamp;
use domain::vtnr::Vtnr;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, REFERER};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use pingora::http::RequestHeader;
use pingora::proxy::Session;
use std::time::Duration;

/// How long a form may take to come in. The largest comes within it at 140 kbit/s.
const PARKING_TIME: Duration = Duration::from_secs(60);

/// The longest media type that is kept, in bytes; a multipart boundary has at most 70 (RFC 2046, 5.1.1).
const LONGEST_TYPE: usize = 256;

/// A form on its way up.
pub(crate) struct OutgoingForm {
    taken: Taken,
    body: Bytes,
    length: usize,
    connected: bool,
}

impl OutgoingForm {
    fn of(mut taken: Taken) -> Self {
        let body = Bytes::from(std::mem::take(&mut taken.body));
        Self {
            taken,
            length: body.len(),
            body,
            connected: false,
        }
    }

    pub(crate) fn form(&self) -> &ParkedForm {
        &self.taken.form
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// What goes up in place of the press's own body, which is empty: once.
    pub(crate) fn take_body(&mut self) -> Bytes {
        std::mem::take(&mut self.body)
    }

    /// A connection to the calculator stands.
    pub(crate) async fn connected(&mut self, parking: &Parking, now: Timestamp) {
        if !std::mem::replace(&mut self.connected, true) {
            parking.note_sent(&self.taken, now).await;
        }
    }
}

/// A form that was just kept.
#[derive(Clone, Copy)]
pub(crate) struct Kept {
    pub(crate) place: Place,
    holder: Holder,
}

/// Which cookie holds the token of a kept form.
#[derive(Clone, Copy)]
enum Holder {
    /// The one of all forms that were posted in this browser.
    Browser,
    /// One of its own: with a form of another site the browser does not send the other one, which must not be replaced.
    Form,
}

/// What is found of a form for whoever asks for it.
enum Found {
    /// It can be sent, with this permit, as this broker's.
    Sendable {
        place: Place,
        seen: Seen<ParkedForm>,
        permit: Permit,
        vtnr: Vtnr,
    },
    /// It is being sent at this moment.
    Going,
    /// It cannot, for what this answer says.
    Not(Reply),
}

impl Gateway {
    /// A form came without a session: it is kept, and the broker is told so.
    pub(crate) async fn park_without_session(
        &self,
        http: &mut Session,
        held: &RequestCookies,
        context: &mut RequestContext,
    ) -> Reply {
        context.outcome = Request::SignInRequired;
        let kept = self.park(http, held, None, context.now).await;
        let page = kept.map(|kept| self.routes.form_page(kept.place.id)).ok();
        let return_to = page.as_deref().unwrap_or("/");
        let view = SessionEnded {
            return_to,
            keeping: self.keeping(kept, context.now),
        };
        let html = self
            .pages
            .now()
            .render(&View::SessionEnded(view), context.now);
        self.with_place(Reply::page(StatusCode::UNAUTHORIZED, html), kept)
    }

    /// A session without submission came with the Antragsversand: it is kept, and the broker can confirm the e-mail address.
    pub(crate) async fn park_submission(
        &self,
        http: &mut Session,
        held: &RequestCookies,
        session: &BrokerSession,
        context: &mut RequestContext,
    ) -> Reply {
        let kept = self.park(http, held, Some(session.vtnr), context.now).await;
        let page = kept.map(|kept| self.routes.form_page(kept.place.id)).ok();
        let page = self.blocked(
            session.vtnr,
            self.keeping(kept, context.now),
            page.as_deref().unwrap_or("/"),
            context.now,
        );
        self.with_place(page, kept)
    }

    /// Cuts the mark off a request's target, and gives the form that it means.
    pub(crate) fn unmark(&self, http: &mut Session) -> Result<Option<FormId>, Failure> {
        let request = http.req_header_mut();
        let Some((target, id)) =
            without_mark(request.raw_path()).map(|(target, id)| (target.to_owned(), id))
        else {
            return Ok(None);
        };
        retarget(request, &target).map_err(|_| Failure::Refused(Refusal::Target))?;
        Ok(Some(id))
    }

    /// A request with a mark: the press of our button; or one from a page that stands at such an address since it answered a form, which
    /// is the calculator's affair like any other.
    pub(crate) async fn admit_marked(
        &self,
        id: FormId,
        http: &mut Session,
        context: &mut RequestContext,
    ) -> Result<Admission, Failure> {
        if is_press(http.req_header()) {
            // A body that breaks off would break the kept form off with it.
            let carries = body_of(http) == Body::Some;
            return if carries {
                Err(Failure::Form(BadForm::Malformed))
            } else {
                self.send_parked(id, http, context).await
            };
        }
        let request = http.req_header();
        if matches!(request.method, Method::GET | Method::HEAD)
            && Audience::of(&request.headers) == Audience::Navigation
        {
            // From a bookmark, or typed: the address is cleared of the mark.
            context.outcome = Request::LoginPage;
            let target = requested_target(request);
            return Ok(Admission::Answer(Reply::see_other(target.as_str())));
        }
        self.admit_plain(http, context).await
    }

    /// Sends a form that was kept: a permit for it, or a page that says why not.
    async fn send_parked(
        &self,
        id: FormId,
        http: &mut Session,
        context: &mut RequestContext,
    ) -> Result<Admission, Failure> {
        if form::is_foreign(http.req_header(), self.scheme(http)) {
            return Err(Failure::Form(BadForm::Foreign));
        }
        context.outcome = Request::LoginPage;
        context.about = RequestKind::KeptForm(self.routes.form_page(id));
        let held = self.held_for(id, http)?;
        let session = self.session(held.session.as_ref(), context.now).await?;
        let session = best(session, self.at_portal(http, context).await?.as_ref());
        self.acquire_slot(session.as_ref(), http, context)?;
        let who = Who {
            client: self.client_counted(http),
            broker: session.as_ref().map(|session| session.vtnr),
        };
        let missed = |reply| {
            self.parking.note(Outcome::Missed, who);
            Ok(Admission::Answer(reply))
        };
        let (place, seen, permit) = match self
            .look_up_form(id, &held, session.as_ref(), context.now)
            .await?
        {
            Found::Sendable {
                place,
                seen,
                permit,
                ..
            } => (place, seen, permit),
            Found::Going => return missed(Reply::see_other(&self.routes.form_page(id))),
            Found::Not(reply) => return missed(reply),
        };
        let Some(taken) = self
            .parking
            .take(place, &seen, &permit, who, context.now)
            .await?
        else {
            // Another press, or another tab, was faster.
            let reply = match self
                .look_up_form(id, &held, session.as_ref(), context.now)
                .await?
            {
                Found::Not(reply) => reply,
                Found::Going => Reply::see_other(&self.routes.form_page(id)),
                // It was put back meanwhile.
                Found::Sendable { .. } => Reply::see_other(&self.routes.form_page(id)),
            };
            return missed(reply);
        };
        context.outcome = Request::Forwarded;
        context.outgoing = Some(OutgoingForm::of(taken));
        // Who presses twice goes away from the first answer, which must not stop the form half-way.
        http.as_downstream_mut().set_abort_on_close(false);
        Ok(Admission::Forward(permit))
    }

    /// The page from which a form is sent.
    pub(crate) async fn show_parked(&self, visit: &Visit) -> Result<Reply, Failure> {
        let now = visit.now;
        let Some(id) = visit.form else {
            return Ok(self.kept_form(KeptForm::Gone, now));
        };
        let session = self.signed_in(visit).await?;
        let (form, vtnr) = match self
            .look_up_form(id, &visit.held, session.as_ref(), now)
            .await?
        {
            Found::Sendable { seen, vtnr, .. } => (seen.value, vtnr),
            Found::Going => return Ok(self.kept_form(KeptForm::Going, now)),
            Found::Not(reply) => return Ok(reply),
        };
        let waits = KeptForm::Waits {
            action: with_mark(form.target.as_str(), id),
            vtnr: vtnr.to_string(),
            site: form.origin.as_deref().and_then(host_in).map(str::to_owned),
            parked_at: form.parked_at,
            until: form.kept_until(self.parking.limits()),
        };
        Ok(self.kept_form(waits, now))
    }

    /// Our cookies of a request that is about a form.
    pub(crate) fn held_for(&self, id: FormId, http: &Session) -> Result<RequestCookies, Failure> {
        self.cookie_names
            .read_for(id, &http.req_header().headers)
            .map_err(|Ambiguous| Failure::Refused(Refusal::Header))
    }

    /// Looks a form up for whoever is signed in, and asks the policy about it as about any request.
    async fn look_up_form(
        &self,
        id: FormId,
        held: &RequestCookies,
        session: Option<&BrokerSession>,
        now: Timestamp,
    ) -> Result<Found, Failure> {
        let place = held.parking.map(|token| Place { token, id });
        let seen = match &place {
            Some(place) => self.parking.find(place).await?,
            None => None,
        };
        let Some((place, seen)) = place.zip(seen) else {
            return Ok(Found::Not(self.kept_form(KeptForm::Gone, now)));
        };
        let page = self.routes.form_page(id);
        let to_sign_in = || {
            Ok(Found::Not(Reply::see_other(
                &self.routes.page("vtnr-login", &page),
            )))
        };
        let Some(session) = session else {
            return to_sign_in();
        };
        let form = &seen.value;
        let unsendable = match form.fate(session.vtnr, self.parking.limits(), now) {
            Fate::Waits => None,
            Fate::Going => return Ok(Found::Going),
            Fate::Sent { at } => Some(KeptForm::Sent { at }),
            Fate::Others => Some(KeptForm::Others {
                vtnr: session.vtnr.to_string(),
            }),
            Fate::Expired => Some(KeptForm::Gone),
        };
        if let Some(why) = unsendable {
            return Ok(Found::Not(self.kept_form(why, now)));
        }
        match policy::decide(|| self.intent_of(form), Some(session), &self.limits, now) {
            Decision::Allow(permit) => Ok(Found::Sendable {
                place,
                seen,
                permit,
                vtnr: session.vtnr,
            }),
            Decision::SignIn => to_sign_in(),
            Decision::BlockSubmission(session) => {
                let keeping = Keeping::Until(form.kept_until(self.parking.limits()));
                Ok(Found::Not(self.blocked(session.vtnr, keeping, &page, now)))
            }
            Decision::Refuse(doubt) => Err(Failure::Doubtful(doubt)),
        }
    }

    /// A broker does not want to send a form any more.
    pub(crate) async fn discard_parked(&self, visit: &Visit) -> Result<Reply, Failure> {
        let place = visit
            .held
            .parking
            .zip(visit.form)
            .map(|(token, id)| Place { token, id });
        let waits = match &place {
            Some(place) => self
                .parking
                .find(place)
                .await?
                .is_some_and(|seen| seen.value.stage == FormStage::Waits),
            None => false,
        };
        if let Some(place) = place.filter(|_| waits) {
            let session = self.signed_in(visit).await?;
            let who = Who {
                client: visit.visitor.client,
                broker: session.map(|session| session.vtnr),
            };
            self.parking.discard(&place, who).await?;
        }
        Ok(Reply::see_other(ReturnTo::start().as_str()))
    }

    /// A form that was taken, and the calculator could not be reached: it is kept on, and the page leads back to it.
    pub(crate) async fn put_back(&self, context: &mut RequestContext) -> Option<String> {
        let outgoing = context
            .outgoing
            .take()
            .filter(|outgoing| !outgoing.connected)?;
        let OutgoingForm {
            mut taken, body, ..
        } = outgoing;
        taken.body = body.into();
        // Counted and logged by the store itself; the page does not promise anything then.
        let is_back = self.parking.put_back(&taken, context.now).await.ok()?;
        is_back.then(|| self.routes.form_page(taken.place.id))
    }

    pub(crate) async fn park(
        &self,
        http: &mut Session,
        held: &RequestCookies,
        owner: Option<Vtnr>,
        now: Timestamp,
    ) -> Result<Kept, NotKept> {
        let kept = self.try_to_park(http, held, owner, now).await;
        let who = Who {
            client: self.client_counted(http),
            broker: owner,
        };
        // What programs post is no news.
        let is_form = Audience::of(&http.req_header().headers) == Audience::Navigation
            || !matches!(kept, Err(NotKept::Unfit));
        if is_form {
            self.parking
                .note(kept.map_or_else(Outcome::from, |_| Outcome::Kept), who);
        }
        kept
    }

    async fn try_to_park(
        &self,
        http: &mut Session,
        held: &RequestCookies,
        owner: Option<Vtnr>,
        now: Timestamp,
    ) -> Result<Kept, NotKept> {
        let form = self.particulars(http.req_header(), self.scheme(http), owner, now)?;
        let client = self.client_counted(http);
        let mut reservation = self
            .parking
            .reserve(client, length(&http.req_header().headers))?;
        let largest = self.parking.limits().largest;
        let body = read_body(http, PARKING_TIME, |length| match length {
            length if length > largest => Err(BadForm::TooLarge),
            length if !reservation.grow(length) => Err(BadForm::NoRoom),
            _ => Ok(()),
        });
        let body = body.await.map_err(|bad| match bad {
            BadForm::TooLarge => NotKept::TooLarge,
            BadForm::NoRoom => NotKept::NoRoom,
            BadForm::BrokenOff | BadForm::Malformed | BadForm::Foreign => NotKept::Failed,
        })?;
        let place = self.parking.keep(held.parking, client, &form, &body).await;
        drop(reservation);
        let holder = if form.origin.is_some() && held.parking.is_none() {
            Holder::Form
        } else {
            Holder::Browser
        };
        place.map(|place| Kept { place, holder })
    }

    /// What is kept of a request besides its body.
    fn particulars(
        &self,
        request: &RequestHeader,
        scheme: Scheme,
        owner: Option<Vtnr>,
        now: Timestamp,
    ) -> Result<ParkedForm, NotKept> {
        let origin = match form::initiator_of(request, scheme) {
            Initiator::Own => None,
            Initiator::Foreign => Some(self.entry_origin(request).ok_or(NotKept::Foreign)?),
            Initiator::Person | Initiator::Unknown => return Err(NotKept::Unfit),
        };
        if request.method != Method::POST || request.headers.contains_key(CONTENT_ENCODING) {
            return Err(NotKept::Unfit);
        }
        let target = std::str::from_utf8(request.raw_path())
            .ok()
            .and_then(|target| ReturnTo::parse(target).ok());
        let content_type = text(&request.headers, CONTENT_TYPE)
            .filter(|kind| kind.len() <= LONGEST_TYPE && is_keepable(kind));
        let content_type = content_type.filter(|kind| !is_scripts(kind, request));
        let (target, content_type) = target.zip(content_type).ok_or(NotKept::Unfit)?;
        let referer =
            text(&request.headers, REFERER).filter(|referer| referer.len() <= ReturnTo::LONGEST);
        Ok(ParkedForm {
            target,
            content_type,
            referer,
            origin,
            owner,
            parked_at: now,
            stage: FormStage::Waits,
        })
    }

    fn intent_of(&self, form: &ParkedForm) -> Intent {
        let (method, target) = (Method::POST.as_str(), form.target.as_str().as_bytes());
        let charset = Charset::of([form.content_type.as_bytes()]);
        self.submission.now().judge(&submission::Request {
            method,
            target,
            body: Body::Some,
            charset,
        })
    }

    fn kept_form(&self, form: KeptForm, now: Timestamp) -> Reply {
        let status = match form {
            KeptForm::Waits { .. } | KeptForm::Going => StatusCode::OK,
            KeptForm::Gone => StatusCode::GONE,
            KeptForm::Sent { .. } => StatusCode::CONFLICT,
            KeptForm::Others { .. } => StatusCode::FORBIDDEN,
        };
        Reply::page(status, self.pages.now().render(&View::KeptForm(form), now))
    }

    /// The page for a session that may not send this.
    fn blocked(&self, vtnr: Vtnr, keeping: Keeping, return_to: &str, now: Timestamp) -> Reply {
        let view = BlockedSubmission {
            return_to,
            vtnr: vtnr.to_string(),
            on_file: self.on_file(vtnr),
            keeping,
        };
        Reply::page(
            StatusCode::FORBIDDEN,
            self.pages.now().render(&View::BlockedSubmission(view), now),
        )
    }

    /// Whether the broker has an address to confirm.
    pub(crate) fn on_file(&self, vtnr: Vtnr) -> OnFile {
        let snapshot = self.directory.snapshot();
        let has_address = snapshot
            .find(vtnr)
            .is_some_and(|broker| !broker.emails().is_empty());
        if has_address {
            OnFile::Some
        } else {
            OnFile::None
        }
    }

    pub(crate) fn keeping(&self, kept: Result<Kept, NotKept>, now: Timestamp) -> Keeping {
        match kept {
            Ok(_) => Keeping::Until(now.plus(self.parking.limits().lifetime)),
            Err(NotKept::Foreign) => Keeping::Foreign,
            Err(NotKept::TooLarge) => Keeping::TooLarge,
            Err(NotKept::NoRoom) => Keeping::NoRoom,
            Err(NotKept::Unfit) => Keeping::Failed,
            // Of one that broke off nobody is left to read the page.
            Err(NotKept::Failed) => Keeping::StoreDown,
        }
    }

    /// The cookie lives as long as the form, and as the browser's other forms that are kept.
    pub(crate) fn with_place(&self, reply: Reply, kept: Result<Kept, NotKept>) -> Reply {
        let Ok(Kept { place, holder }) = kept else {
            return reply;
        };
        let lifetime = self.parking.limits().lifetime;
        reply.with_cookie(match holder {
            Holder::Browser => self.cookie_names.set_parking(&place.token, lifetime),
            Holder::Form => self
                .cookie_names
                .set_parking_of(place.id, &place.token, lifetime),
        })
    }
}

/// Whether a script posted this: no form is JSON in a client that does not say that it navigates.
fn is_scripts(content_type: &str, request: &RequestHeader) -> bool {
    Audience::of(&request.headers) != Audience::Navigation && !is_of_html_forms(content_type)
}

/// Whether this is the press of our button: its form is of a kind that no page of a calculator's has.
fn is_press(request: &RequestHeader) -> bool {
    let content_type = text(&request.headers, CONTENT_TYPE).unwrap_or_default();
    request.method == Method::POST && content_type.eq_ignore_ascii_case("text/plain")
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}

/// What a body says of its length, in bytes. The framing was found sound.
fn length(headers: &HeaderMap) -> Option<usize> {
    // More than can be counted is too large as well.
    text(headers, CONTENT_LENGTH).map(|length| length.parse().unwrap_or(usize::MAX))
}
