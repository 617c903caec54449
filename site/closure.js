/** What a close code means: https://www.iana.org/assignments/websocket/websocket.xhtml#close-code-number */

import { textsOf } from "./language.js";

const TEXTS = {
  1000: ["正常关闭", "正常關閉", "normal closure"],
  1001: ["服务器停止或重启", "伺服器停止或重新啟動", "the server is going away"],
  1002: ["协议错误", "協定錯誤", "protocol error"],
  1003: ["不接受此类数据", "不接受此類資料", "unsupported data"],
  1005: ["未给出代码", "未給出代碼", "no code given"],
  1006: ["无法连接，或连接异常中断", "無法連線，或連線異常中斷", "no connection, or the connection was lost"],
  1007: ["数据与类型不符", "資料與類型不符", "invalid payload"],
  1008: ["违反策略", "違反原則", "policy violation"],
  1009: ["消息过大", "訊息過大", "message too big"],
  1010: ["缺少扩展", "缺少擴充", "missing extension"],
  1011: ["服务器内部错误", "伺服器內部錯誤", "internal server error"],
  1012: ["服务正在重启", "服務正在重新啟動", "service restart"],
  1013: ["请稍后再试", "請稍後再試", "try again later"],
  1014: ["网关错误", "閘道錯誤", "bad gateway"],
  1015: ["TLS 握手失败", "TLS 交握失敗", "TLS handshake failed"],
  3000: ["未经授权", "未經授權", "unauthorized"],
  3003: ["禁止访问", "禁止存取", "forbidden"],
  other: ["应用自定义代码", "應用程式自訂代碼", "application-defined code"],
  closure: ["连接关闭：%，%", "連線關閉：%，%", "connection closed: %, %"],
  reason: ["（原因：%）", "（原因：%）", " (reason: %)"],
};
const text = textsOf(TEXTS);

export function describeClosure({ code, reason }) {
  const meaning = text(Number.isInteger(code) && code in TEXTS ? code : "other");
  return text("closure", code, meaning) + (reason ? text("reason", reason) : "");
}
