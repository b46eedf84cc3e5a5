"""Random servers of all parts, for holding engines equal."""

from __future__ import annotations



import random
from typing import Any


def scenario(n: int) -> dict[str, Any]:
    r=random.Random(n); c=r.choice
    lat=lambda lo,hi:{"call_ms":c([lo,hi,(lo+hi)/2]),"row_ms":c([0,0.1,1.0]),"distribution":c(["constant","lognormal","exponential"]),"sigma":c([0.3,1.0])}
    dur=c([30,120,700,4000])
    wl={"rate_hz":c([2,20,60,200] if dur<1000 else [2,20]),"duration_s":dur,"queries_hz":c([0,0,0.3,3])}
    m=c([(0.6,0.05,0.35),(0.2,0.2,0.6),(1.0,0,0)]); wl["mix"]=dict(zip(("events","revenue","heartbeats"),m))
    if r.random()<0.4: wl["sessions"]={"heartbeat_every_s":c([5,30]),"length_median_s":c([20,200]),"abandoned":c([0.2,0.9])}
    elif r.random()<0.5: wl["live_sessions"]=c([3,50,1000])
    faults=[]
    for _ in range(c([0,0,1,2])):
        k=c(["slow","fail","stall","down","full"]); a=r.uniform(0,dur*0.8); b=a+c([0.5,7,60])
        f={"kind":k,"from_s":round(a,3),"to_s":round(b,3)}
        if k=="slow" or (k=="fail" and r.random()<.5): f["duration_ms"]=c([1,300,9000])
        faults.append(f)
    def writer(): return {"semantics":c(["seed","fixed","recommended"]),"batch_rows":c([1,5,100]),"delay_ms":c([50,1000,5000]),"buffer_cap_rows":c([3,40,1000,"none"]),"retry_for_ms":c([0,3000,120000])}
    sv={"writers":{s:writer() for s in ("events","revenue","heartbeats")},"pool":{"limit":c([1,2,5,20]),"pool_timeout_s":c([0.05,1,20]),"connect_timeout_s":c([0.003,1,10])},
        "http":{"events_cpu_ms":c([0.25,4,0.0]),"row_cpu_ms":c([0.04,0,1.0])}}
    if r.random()<.4: sv["http"]["clients"]={"timeout_s":c([0.1,1]),"retries":c([0,2]),"backoff_s":c([0,0.5])}
    if r.random()<.5: sv["cleanup"]={"interval_s":c([5,60]),"timeout_s":c([10,60]),"limit_rows":c([3,100,"none"]),"one_statement":c([True,False])}
    if r.random()<.4: sv["cache"]={"ttl_s":c([5,300]),"entries_max":c([2,"none"]),"size_max_mib":c([0.5,"none"]),"store":c(["memory","redis"])}
    if r.random()<.4: sv["metrics"]={"every_s":c([0.5,60])}
    sv["queries"]={"rows_median":c([10,2000]),"distinct":c([3,50]),"compression":c([True,False]),"take_rows":c(["none",100])}
    rd={}
    if r.random()<.3: rd={"faults":[{"kind":c(["down","unreachable"]),"from_s":round(dur*0.3,2),"to_s":round(dur*0.5+1,2)}]}; sv["redis_client"]={"queue_limit":c([5,1000,"none"]),"commands_per_request":c([0,1])}
    pr={"replicas":c([1,1,1,2,3]),"start_s":c([0,4]),"overlap_s":c([0,3,30]),"draining_s":c([0,2,5]),"handles_sigterm":r.random()<0.7}
    sv["process"]=pr
    if r.random()<.4: sv["lifecycle"]=[{"kind":c(["deploy","crash"]),"at_s":round(r.uniform(0,dur),2)} for _ in range(c([1,2,3]))]
    if r.random()<.5: sv["logger"]={"level":c(["info","warn","error"]),"lines_per_request":c([0,1,2.5]),"consumer_hz":c(["none",5])}
    db={"insert":lat(1,40),"update":lat(1,10),"query":lat(2,60),"connect_ms":c([0,5,50]),"max_connections":c([4,5,8,100]),"refused_ms":c([1,20]),"parallel_calls":c([1,3,8]),"faults":faults,"warm_up_s":c([0,60])}
    if r.random()<.2: db["bursts"]={"calm_s":20,"slow_s":5,"factor":8}
    return dict(name=f"r{n}",workload=wl,server=sv,database=db,redis=rd,billing={"from":"2026-02-03"})
