use super::*;
use crate::clock::Rng;
use crate::store::embedded::Embedded;
use crate::store::{FormDraft, FormStore as _};
use domain::held_form::{FormStage, HeldForm};
use domain::return_to::ReturnTo;
use domain::time::Timestamp;
use std::time::Duration;

#[tokio::test]
async fn with_the_secret_alone_nobody_reads_a_kept_form() {
    let clock = Clock::manual(Timestamp::from_millis(1_000));
    let vault = Vault::new(b"the operator's secret", Rng);
    let store = Sealed::new(
        Embedded::in_memory(clock.clone()).expect("a store"),
        vault.clone(),
        clock.clone(),
    );
    let token = Rng.form_token();
    let id = Rng.form_id();
    let form = HeldForm {
        target: ReturnTo::start(),
        content_type: "application/json".into(),
        referer: None,
        origin: None,
        owner: None,
        held_since: clock.now(),
        stage: FormStage::Waits,
    };
    let parking = FormDraft {
        token: &token,
        id,
        form: &form,
        body: b"{}",
        lives: Duration::from_secs(9),
        over: None,
    };
    store
        .save_form(parking, &RateLimits::none())
        .await
        .expect("kept");
    let (name, body) = store.form_keys(&token, id);
    for name in [name, body] {
        let sealed = store
            .engine
            .read(&[name])
            .await
            .expect("answers")
            .pop()
            .flatten()
            .expect("a record");
        assert!(vault.open(name, token.reveal(), &sealed).is_ok());
        assert_eq!(vault.open(name, NO_TOKEN, &sealed), Err(Unsealable));
    }
}
