package mongo
import ("testing";"time";"fmt";"context";"log/slog";"os")
func TestZZ(t *testing.T){
 ca:="/tmp/mongolog/d3/tls/ca.crt"
 lg:=slog.New(slog.NewTextHandler(os.Stdout,nil))
 for _,u:=range []string{
 "mongodb://ev:wr0ng@127.0.0.1:27118/",
 "mongodb://nobody:s3cret@127.0.0.1:27118/x",
 "mongodb://127.0.0.1:27118/x",
 "mongodb://ev:s3cret@127.0.0.1:27118/x?authSource=admin",
 "mongodb://127.0.0.1:27117/x?tls=true",
 "mongodb://127.0.0.1:27119/x",
 "mongodb://127.0.0.1:27119/x?tls=true",
 "mongodb://127.0.0.1:27119/x?tls=true&tlsCAFile="+ca,
 "mongodb://localhost:27119/x?tls=true&tlsCAFile="+ca,
 "mongodb://127.0.0.1:27119/x?tls=true&tlsCAFile=/nonexistent",
 "mongodb://127.0.0.1:1/x",
 "mongodb://unknown.invalid:1/x",
 "mongodb://ev:pa/ss@127.0.0.1:27118/x",
 "mongodb://ev:pa%zzss@127.0.0.1:27118/x",
 "http://x","mongodb://","mongodb://h:port/", "mongodb://h/?foo=bar&w=x", "mongodb://ev:s3cret@h/?authMechanism=foo",
 } {
  ctx,c:=context.WithTimeout(t.Context(),8*time.Second)
  t0:=time.Now()
  s,err:=Connect(ctx,Config{URI:u,Logger:lg})
  fmt.Println(u,"→",time.Since(t0).Round(time.Millisecond),err)
  if s!=nil { fmt.Println("   id",s.NetworkID()); t0=time.Now(); fmt.Println(s.Close(), time.Since(t0)) }
  c()
 }
}
