use super::*;

fn configured(pairs: &[(&str, &str)]) -> BrokerConfig {
    BrokerConfig::from_pairs(pairs).unwrap()
}

fn gate(pairs: &[(&str, &str)]) -> Admission {
    Admission::new(ConnectionLimits::new(&configured(pairs)))
}

/// A place for a connection from 127.0.0.`last`, if it is to be had without waiting for others.
async fn admit(gate: &Admission, last: u8) -> Option<Place> {
    let listener = Arc::from("PLAINTEXT");
    let admitted = gate.admit(&listener, IpAddr::from([127, 0, 0, last]));
    let admitted = clock::timeout(Duration::from_secs(100), admitted).await?;
    Some(admitted.unwrap())
}

async fn is_told_to_close(place: &Place) -> bool {
    let told = clock::timeout(Duration::from_millis(1), place.activity.closed());
    told.await.is_some()
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_let_in_when_another_goes_or_the_bound_is_raised() {
    let gate = gate(&[("max.connections", "1")]);
    let first = admit(&gate, 1).await.unwrap();
    assert!(admit(&gate, 2).await.is_none());
    let (second, ()) = tokio::join!(admit(&gate, 2), async {
        clock::sleep(Duration::from_secs(1)).await;
        drop(first);
    });
    let second = second.unwrap();
    let (third, ()) = tokio::join!(admit(&gate, 3), async {
        clock::sleep(Duration::from_secs(1)).await;
        gate.configure(&configured(&[("max.connections", "2")]));
    });
    assert!(third.is_some());
    assert_eq!(gate.open(), 2);
    drop((second, third));
    assert_eq!(gate.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_address_is_refused_at_once() {
    let gate = gate(&[("max.connections.per.ip", "1")]);
    let _first = admit(&gate, 1).await.unwrap();
    let listener = Arc::from("PLAINTEXT");
    let again = gate.admit(&listener, IpAddr::from([127, 0, 0, 1]));
    assert_eq!(again.await.err(), Some(AddressFull { most: 1 }));
    assert!(admit(&gate, 2).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_lowered_bound_closes_those_that_were_idle_for_longest() {
    let gate = gate(&[]);
    let mut places = Vec::new();
    for last in 1..6 {
        places.push(admit(&gate, last).await.unwrap());
        clock::sleep(Duration::from_secs(1)).await;
    }
    places[1].activity.touch();
    places[0].activity.begin();
    gate.configure(&configured(&[("max.connections", "3")]));
    let mut told = Vec::new();
    for place in &places {
        told.push(is_told_to_close(place).await);
    }
    assert_eq!(told, [false, false, true, true, false]);
    // Those that are told to go and have not gone yet are not told again, nor others for them.
    gate.configure(&configured(&[("max.connections", "3")]));
    assert!(!is_told_to_close(&places[4]).await);
    places.drain(2..4);
    assert_eq!(gate.open(), 3);
    gate.configure(&configured(&[("max.connections", "2")]));
    assert!(is_told_to_close(&places[2]).await);
    places.remove(2);
    gate.configure(&configured(&[("max.connections", "1")]));
    assert!(is_told_to_close(&places[1]).await, "idle ones before busy ones");
}

#[tokio::test(start_paused = true)]
async fn connections_that_come_too_fast_are_held_back() {
    let gate = gate(&[("max.connection.creation.rate", "2")]);
    let begun = Instant::now();
    let mut places = Vec::new();
    for _ in 0..40 {
        places.push(admit(&gate, 1).await.unwrap());
    }
    let seconds = begun.elapsed().as_secs();
    // Twenty in the ten seconds that the window is taken for, the others one by one.
    assert!((9..=12).contains(&seconds), "{seconds}");
}
