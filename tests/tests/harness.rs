//! The harness itself starts what it promises.

use tests::fleet::RedisFleet;

#[tokio::test]
async fn a_sentinel_service_and_a_cluster_form_over_three_zones() {
    let mut fleet = RedisFleet::new();
    let service = fleet.sentinel("cart", 5000).await;
    let cluster = fleet.cluster(5000).await;
    assert!(fleet.nodes[service.master].is_master());
    assert_eq!((service.sentinels.len(), cluster.len()), (3, 6));
}
