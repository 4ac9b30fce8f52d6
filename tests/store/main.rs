//! The contract of the store: one suite run against every engine, and tests for each engine alone.

#[path = "../support/mod.rs"]
mod support;

mod cache;
mod counters;
mod devices;
mod failovers;
mod file;
mod fixture;
mod forms;
mod invalidations;
mod looks;
mod outages;
mod outbox;
mod samples;
mod secrecy;
mod sessions;
mod sign_ins;
mod staged;
mod tampering;
mod tickets;
mod trust;

/// Runs the suite against each engine. A test missing from this list is dead code, which does not
/// compile.
macro_rules! run_against_every_store {
    ($suite:tt) => {
        run_against_one_store!(redis $suite);
        run_against_one_store!(sentinel $suite);
        run_against_one_store!(cluster $suite);
        run_against_one_store!(memory $suite);
        run_against_one_store!(file $suite);
    };
}

macro_rules! run_against_one_store {
    ($kind:ident { $($topic:ident { $($sentence:ident)* })* }) => {
        mod $kind {
            $(mod $topic {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $sentence() {
                    crate::$topic::$sentence(crate::fixture::Fixture::$kind().await).await;
                })*
            })*
        }
    };
}

mod every_store {
    run_against_every_store!({
        sessions {
            a_session_is_found_as_it_began
            an_unknown_token_finds_no_session
            an_ended_session_is_gone_and_can_be_ended_again
            a_touch_is_what_the_next_one_finds
            a_touch_never_resurrects_an_ended_session
            touches_and_ends_at_the_same_time_leave_no_session
            a_session_is_gone_when_its_life_is_over
            a_touch_lengthens_a_sessions_life
        }
        sign_ins {
            a_sign_in_under_way_is_found_as_it_was_kept
            a_sign_in_under_way_is_gone_when_its_life_is_over
            signing_in_begins_the_session_trusts_the_browser_and_spends_the_sign_in
            the_replaced_session_is_dead_and_the_browsers_old_token_forgotten
            a_trusted_browser_signs_in_without_a_sign_in_under_way
            a_sign_in_that_changed_meanwhile_writes_nothing
            a_sign_in_without_room_in_a_counter_writes_nothing
            a_sign_in_is_kept_only_as_it_was_seen
            a_tan_is_asked_for_only_as_the_sign_in_was_seen
            a_tan_without_room_in_a_counter_queues_no_letter
            a_sign_in_that_ended_meanwhile_is_a_conflict
            of_100_sign_ins_with_the_same_tan_one_is_done
            a_new_token_takes_the_place_of_the_former_one_in_one_step
            a_new_token_takes_the_place_only_of_what_was_seen_and_of_nothing_else
            a_sign_in_that_moves_keeps_its_tries_and_letters_and_is_followed_for_a_moment
            of_100_that_move_a_sign_in_one_does
            a_sign_in_that_is_charged_stays_and_one_that_is_ended_counts_once
            without_room_in_a_counter_a_sign_in_is_neither_charged_nor_ended
        }
        counters {
            of_200_at_once_exactly_as_many_are_done_as_there_is_room_for
            the_full_counter_is_named_with_the_time_until_its_window_ends
            a_check_needs_room_and_takes_none
            a_count_rises_beyond_the_limit
            of_several_counters_all_or_none_are_raised
            a_refused_event_counts_nothing_either
            each_broker_number_of_a_client_counts_once
            a_broker_number_that_was_counted_passes_a_full_counter
            a_window_ends
            events_within_a_window_do_not_put_its_end_off
            a_broker_number_counts_again_in_the_next_window
            no_counter_touches_another
            no_limit_means_no_event
        }
        forms {
            a_form_is_found_by_its_browser_as_it_came
            of_100_that_take_a_form_one_gets_it
            a_form_that_was_taken_can_be_kept_on_unless_it_was_discarded
            a_form_is_gone_when_its_time_is_over
            forms_are_kept_up_to_a_size_for_each_client_and_for_all
        }
        outbox {
            a_letter_is_leased_as_it_was_written
            a_leased_letter_is_hidden
            after_the_lease_a_letter_comes_again_as_the_second_attempt
            two_that_look_at_once_never_get_the_same_letter
            a_letter_that_was_put_off_comes_back_when_it_is_due
            a_letter_that_was_put_off_waits_behind_what_is_due
            a_letter_that_is_queued_again_comes_at_once
            those_that_nobody_had_in_hand_can_be_taken_alone
            an_accepted_or_refused_letter_leaves
            deliveries_are_told_in_the_order_asked
            a_letter_whose_sign_in_is_over_disappears
            a_lease_that_is_renewed_goes_on_and_one_that_was_lost_does_not
            whoever_lost_the_lease_can_note_only_that_the_letter_was_taken
            letters_that_a_sign_in_no_longer_waits_for_leave
            a_sign_in_that_is_discarded_takes_its_letters_along
            a_sign_in_that_succeeds_takes_its_letters_along
        }
        trust {
            what_a_browser_is_trusted_for_is_found_as_it_was_granted
            an_unknown_browser_is_trusted_for_nothing
            a_forgotten_browser_is_trusted_for_nothing
            trust_ends_with_its_life
            a_revocation_holds_for_its_broker_only
            a_revocation_is_later_than_those_before_it_and_than_all_sign_ins_whatever_the_clock_says
        }
        devices {
            a_browser_is_known_as_it_signed_in_and_by_its_last_token_alone
            a_forgotten_or_old_browser_is_known_for_nothing
            a_password_without_room_in_a_counter_signs_nobody_in
            a_known_browser_is_not_a_trusted_one_nor_the_other_way_round
        }
        invalidations {
            ending_a_session_is_announced
            replacing_a_session_is_announced
            revoking_a_broker_is_announced
            what_was_refused_is_not_announced
        }
    });
}
